// Models with made-up weights, for measuring speed without a checkpoint of that size.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "inference/model/model.h"
#include "inference/model/weight_source.h"
#include "inference/tensor/config.h"

namespace holdfast::model {

// The DeepSeek-R1 distills: r1-1.5b, r1-7b, r1-14b, r1-32b (Qwen2), r1-llama-8b, r1-llama-70b.
std::span<const std::string_view> shape_names();
std::optional<tensor::Config> find_shape(std::string_view name);
// One more for trying things out, whose model lies in the caches; of no name and no family.
tensor::Config tiny_shape();

// A model whose matrices are of `weights` (head and embedding as load() would convert them, see
// weight_source.h) and hold numbers that are a hash of their place, scaled so that activations stay
// near 1; the same on every machine. options.weights is ignored. Errors as load().
[[nodiscard]] base::Result<std::unique_ptr<Model>> random_model(const tensor::Config& config,
                                                                tensor::DataType weights,
                                                                const LoadOptions& options);

// Its weights. Errors: invalid, when rows are no whole blocks of the type.
std::unique_ptr<WeightSource> random_weights(const tensor::Config& config, tensor::DataType type);

// Writes a model of such weights (not the same ones) as a GGUF file: what load() needs and no
// tokenizer. Errors: invalid, when rows are no whole blocks or the file exists; the system's reason
// when it cannot be written.
[[nodiscard]] base::Result<> write_random(const tensor::Config& config, tensor::DataType type,
                                          const std::string& path);

}  // namespace holdfast::model
