// What a transformer has to do per token and keep per token, from its shape alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "inference/model/device.h"
#include "inference/tensor/config.h"
#include "inference/tensor/data_type.h"
#include "inference/tensor/kv_type.h"

namespace holdfast::perf {

// All numbers of the checkpoint, norms and biases included.
std::uint64_t parameters(const tensor::Config& config);

// Of a random model of this shape, whose layers are of `type`: see model/random.h. Errors: invalid,
// when rows are no whole blocks of it.
[[nodiscard]] base::Result<model::WeightBytes> weight_bytes(const model::Device& device,
                                                            const tensor::Config& config,
                                                            tensor::DataType type);

// Bytes of one position's keys and values in all layers.
double kv_bytes_per_token(const model::Device& device, const tensor::Config& config,
                          tensor::KvType type);

// Floating-point operations of one token at `position`, a multiply-add counted as two. Attention:
// 4 * layers * heads * head_dim for each position up to its own (Kaplan et al. 2020, table 1,
// with both products of attention).
double token_operations(const tensor::Config& config, double position, bool with_head);

}  // namespace holdfast::perf
