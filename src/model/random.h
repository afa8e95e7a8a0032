// Models with made-up weights, for measuring speed without a checkpoint of that size.
#pragma once

#include <memory>

#include "model/model.h"
#include "model/weights.h"
#include "tensor/config.h"

namespace holdfast::model {

// The shape of DeepSeek-R1-Distill-Qwen-1.5B.
tensor::Config r1_distill_qwen_1_5b();

// bf16 weights that are a hash of their place, scaled so that activations stay near 1.
[[nodiscard]] base::Result<Weights> random_weights(const tensor::Config& config, cpu::Pool& pool);

// A model of such weights; the same on every machine. Errors as load().
[[nodiscard]] base::Result<std::unique_ptr<Model>> random_model(const tensor::Config& config,
                                                                const LoadOptions& options);

}  // namespace holdfast::model
