#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace holdfast::tensor {

// What config.json and generation_config.json of a Hugging Face folder say about a Qwen2 model.
// Field meanings: transformers, Qwen2Config. Every value has been checked against the others.
struct Config {
    std::string architecture;  // "qwen2"
    std::uint32_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0;
    std::uint32_t vocab = 0;
    std::uint32_t context = 0;  // max_position_embeddings
    float rope_theta = 10'000.0F;
    float rms_norm_epsilon = 1e-6F;
    bool tied_head = false;         // the head's weights are the embedding's
    std::vector<std::int32_t> eos;  // generation_config.json wins over config.json
};

// Errors name file, field and reason; other architectures are refused by name.
[[nodiscard]] base::Result<Config> read_config(const std::string& folder);

}  // namespace holdfast::tensor
