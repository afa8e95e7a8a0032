// The two forms of a model's configuration, and the checks that they share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "inference/tensor/config.h"

namespace holdfast::tensor {

base::Result<Config> read_folder_config(const std::string& folder);
base::Result<Config> read_gguf_config(const std::string& path);

inline constexpr std::uint32_t hidden_max = 1 << 16, ffn_max = 1 << 18, layers_max = 1'024,
                               heads_max = 1'024, vocab_max = 1 << 20, context_max = 1 << 20,
                               head_dim_max = 256;
inline constexpr std::size_t eos_ids_max = 64;
inline constexpr double rope_theta_max = 1e12, epsilon_min = 1e-12;
inline constexpr double temperature_max = 2, top_p_min = 1e-9, repetition_penalty_min = 1e-3,
                        repetition_penalty_max = 1e3;

// What the form calls a field, for errors.
struct ShapeFieldNames {
    std::string_view hidden, ffn, heads, kv_heads, head_dim;
};

// Refuses shapes that cannot be computed with. `source` names the file and how it calls its fields,
// as in "config.json: field".
base::Result<> check_shape(const Config& config, const ShapeFieldNames& names,
                           std::string_view source);

}  // namespace holdfast::tensor
