// What is believed of an instance. It is a stranger: every text, list and number that it sends is
// bounded by one of these before it is kept.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holdfast::upstream {

inline constexpr std::size_t name_bytes_max = 512;     // of a model, a fingerprint, a life
inline constexpr std::size_t reasons_max = 16;         // why it is not ready
inline constexpr std::size_t reason_bytes_max = 512;   // each, and all of them together
inline constexpr std::size_t models_max = 256;         // in a list of models
inline constexpr std::int64_t context_max = 1U << 31;  // tokens of prompt and answer
inline constexpr std::int64_t pid_max = 1 << 22;       // Linux has no larger one

}  // namespace holdfast::upstream
