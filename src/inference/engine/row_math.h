// Passes over a row of logits, which has as many numbers as the vocabulary has tokens. Compiled for
// several instruction sets and chosen when the program starts; the results are the same bits with
// all of them, because every number goes through the same operations, and what is summed are
// integers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/chat/request.h"

namespace holdfast::engine {

// A weight is an integer: the likeliest id has weight_one. All ids of a vocabulary of 2^18 together
// stay below 2^62, in whatever order they are added.
inline constexpr int weight_bits = 44;
inline constexpr std::uint64_t weight_one = std::uint64_t{1} << weight_bits;

struct Candidate {
    float logit;
    chat::TokenId id;
    std::uint64_t weight;
};

struct RowScan {
    float largest;  // -inf for an empty row
    bool valid;     // no NaN and no +inf
};
RowScan scan(std::span<const float> logits);

// The first place of a number, or logits.size().
std::size_t find_first(std::span<const float> logits, float number);

// Writes the logits that are not below `floor` and their ids, the first of which is `first_id`, in
// order; returns how many. `out` has room for all.
std::size_t collect(std::span<const float> logits, float floor, chat::TokenId first_id,
                    Candidate* out);

// exact_exp(x) * weight_one to the nearest integer, of two the even one, for each x <= 0. Below
// -31.2 that is 0. `weights` is as long as `exponents`, which it may change.
void weigh(std::span<double> exponents, std::span<std::uint64_t> weights);

// The sum of the weights at logit - largest, for each logit; `largest` is not below any.
std::uint64_t sum_of_weights(std::span<const float> logits, float largest);

}  // namespace holdfast::engine
