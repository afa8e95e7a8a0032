// Passes over a row of logits, which has as many numbers as the vocabulary has tokens. Compiled for
// several instruction sets and chosen when the program starts; the results are the same bits with
// all of them, because every number goes through the same operations and sums have one order.
#pragma once

#include <cstddef>
#include <span>

#include "common/chat/request.h"

namespace holdfast::engine {

struct Candidate {
    float logit;
    chat::TokenId id;
    double weight;
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

// Replaces each x in [-700, 0] by exact_exp(x).
void exact_exp_each(std::span<double> numbers);

// sum + exact_exp(logit - largest) of each logit in order, leaving out those 45 and more below,
// which would not change the sum's bits.
double add_exponentials(double sum, std::span<const float> logits, float largest);

}  // namespace holdfast::engine
