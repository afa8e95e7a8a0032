// What a request may ask for. Numbers above these are refused with 400 before anything is
// reserved for them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holdfast::dialect {

inline constexpr std::size_t messages_max = 10'000;
inline constexpr std::int64_t tokens_max = 2'147'483'647;
inline constexpr std::int64_t token_id_max = 2'147'483'647;
inline constexpr std::int64_t alternatives_max = 20;  // top_logprobs
inline constexpr std::size_t stops_max = 16;
inline constexpr std::size_t stop_bytes_max = 4096;
inline constexpr std::size_t stop_token_ids_max = 256;
inline constexpr std::size_t logit_bias_max = 1024;
inline constexpr std::size_t name_bytes_max = 256;  // model
inline constexpr std::size_t user_bytes_max = 1024;
inline constexpr std::int64_t top_k_max = 1'000'000;
inline constexpr double repetition_penalty_min = 0.01;
inline constexpr double repetition_penalty_max = 10;

}  // namespace holdfast::dialect
