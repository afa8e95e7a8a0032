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

// Errors.
inline constexpr std::size_t message_bytes_max = 1000;
inline constexpr std::size_t word_bytes_max = 128;  // type, param and code
// Answers.
inline constexpr std::size_t event_bytes_max = 4 * 1024 * 1024;    // one event of a stream
inline constexpr std::size_t token_bytes_max = 1024;               // what one token can stand for
inline constexpr std::size_t answer_bytes_max = 64 * 1024 * 1024;  // of one choice, in one attempt
inline constexpr std::int64_t count_max = 2'147'483'647;           // in usage
inline constexpr std::size_t scores_max = 4096;                    // in one event
inline constexpr std::size_t alternatives_max = 32;                // of one score
inline constexpr std::size_t event_ids_max = 65'536;               // in one event
inline constexpr std::size_t tokens_listed_max = 4 * 1024 * 1024;  // by /tokenize

}  // namespace holdfast::upstream
