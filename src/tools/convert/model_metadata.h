// A model's configuration as GGUF's metadata.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "inference/tensor/config.h"
#include "inference/tensor/gguf_writer.h"

namespace holdfast::convert {

// What a reader needs to compute with the tensors; `name` is for people.
void add_model(const tensor::Config& config, std::string_view name, tensor::GgufMetadata& metadata);

// Which type most of the file's matrices have.
void add_file_type(tensor::DataType type, tensor::GgufMetadata& metadata);

// Llama 3.1's scaling as divisors of the head_dim / 2 rotary frequencies: transformers,
// modeling_rope_utils.py, _compute_llama3_parameters.
std::vector<float> rope_divisors(const tensor::RopeScaling& scaling, double theta,
                                 std::uint32_t head_dim);

}  // namespace holdfast::convert
