#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"

namespace holdfast::tensor {

// Llama 3.1's stretching of rotary frequencies: transformers, modeling_rope_utils.py, "llama3".
struct RopeScaling {
    float factor = 8.0F, low_frequency_factor = 1.0F, high_frequency_factor = 4.0F;
    std::uint32_t original_context = 8'192;
};

// How a model's makers want it sampled where a request says nothing: generation_config.json, or
// "general.sampling.*" of a GGUF file. What they leave open is absent. R1's: temperature 0.6 and
// top_p 0.95, without which it tends to repeat itself.
struct SamplingDefaults {
    std::optional<float> temperature;         // [0, 2]
    std::optional<float> top_p;               // (0, 1]
    std::optional<std::int32_t> top_k;        // 0 is off
    std::optional<float> min_p;               // [0, 1]
    std::optional<float> repetition_penalty;  // > 0
    friend bool operator==(const SamplingDefaults&, const SamplingDefaults&) = default;
};

// What config.json and generation_config.json of a Hugging Face folder, or the metadata of a GGUF
// file, say about a model. Field meanings: transformers, Qwen2Config and LlamaConfig. Every value
// has been checked against the others.
struct Config {
    std::string architecture;  // "qwen2", "llama"
    std::uint32_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0;
    std::uint32_t vocab = 0;
    std::uint32_t context = 0;  // max_position_embeddings
    float rope_theta = 10'000.0F;
    std::optional<RopeScaling> rope_scaling;
    // GGUF's form of the same: each of head_dim / 2 frequencies is divided by its number. Empty for
    // none.
    std::vector<float> rope_divisors;
    float rms_norm_epsilon = 1e-6F;
    bool qkv_bias = true;           // queries, keys and values have one
    bool tied_head = false;         // the head's weights are the embedding's
    std::vector<std::int32_t> eos;  // generation_config.json wins over config.json
    SamplingDefaults sampling;
};

// Errors name file, field and reason; other architectures are refused by name.
// `path` is a Hugging Face folder or a GGUF file (of a split one, the first part).
[[nodiscard]] base::Result<Config> read_config(const std::string& path);

}  // namespace holdfast::tensor
