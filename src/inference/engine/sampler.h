// From one row of logits to one token.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "common/base/error.h"
#include "common/chat/event.h"
#include "common/chat/request.h"
#include "inference/engine/row_math.h"
#include "inference/engine/token_state.h"
#include "inference/model/model.h"
#include "inference/text/tokenizer.h"

namespace holdfast::engine {

// Names what follows below: it goes up when a change of it may change a draw. Part of the engine's
// fingerprint.
inline constexpr int sampler_version = 2;

// One thread; owns scratch memory for one row and allocates no more per token, unless log
// probabilities are asked for. The result is a function of its arguments, bit for bit.
//
// Order of operations:
//   1. ids without a token (padding rows of the head) are masked; a NaN or +inf is an error
//   2. log probabilities: log-softmax of the row as it is now, before everything below
//   3. repetition penalty, then frequency and presence penalties, then logit_bias
//   4. what the token state says must not come next is masked
//   5. temperature 0: the largest logit, the lowest id among equals. Otherwise
//   6. weights exp((logit - largest) / temperature), in units of 2^-44, rounded (row_math.h)
//   7. top_k, then top_p (the fewest likeliest ids whose weights are at least that share of all
//      that are left), then min_p (at least that share of the largest possible weight); of equal
//      logits the lower id is the likelier
//   8. the first id, in ascending order, whose weight and those before it exceed u / 2^24 of the
//      sum, rounded down, where u are the 24 bits of base::uniform(seed, choice, position)
// Weights are integers, so no sum depends on an order: every backend that has the same logits draws
// the same token, however it is parallel. Log probabilities come from the same sum at temperature
// 1; its error is below 1e-8.
// Penalties: Keskar et al. 2019 (repetition) and OpenAI's API reference (the other two). Top-p:
// Holtzman et al. 2020. Min-p: Nguyen et al. 2024.
class Sampler {
public:
    Sampler(const text::Tokenizer& tokenizer, const model::Shape& shape);

    struct Draw {
        chat::TokenId id = 0;
        std::optional<chat::TokenScore> score;  // when the request asks for log probabilities
    };
    // `row` has shape.vocab logits; `state` has been fed what the choice has generated so far.
    // Errors: internal, if the row holds a NaN or no finite logit.
    base::Result<Draw> sample(std::span<const float> row, const chat::Generation& request,
                              std::uint32_t choice, const TokenState& state);

private:
    // Ids that have a token: [begin, end).
    struct Range {
        std::size_t begin, end;
        std::span<const float> of(std::span<const float> row) const {
            return row.subspan(begin, end - begin);
        }
    };
    RowScan scan_tokens(std::span<const float> row) const;
    void adjust(const chat::Sampling& sampling, const TokenState& state);
    base::Result<chat::TokenId> draw(std::span<const float> row, float largest,
                                     const chat::Sampling& sampling, std::uint32_t choice,
                                     std::uint32_t position);
    chat::TokenId first_id(std::span<const float> row, float logit) const;
    void collect_candidates(std::span<const float> row, float largest, float temperature);
    void weigh_candidates(float largest, float temperature);
    void keep_first(std::size_t count);
    void keep_top_k(std::size_t count);
    // As few as weigh at least `wanted`; logits from `near` on are likely to suffice.
    void keep_top_p(std::uint64_t wanted, float near);
    std::uint64_t total_weight() const;
    chat::TokenId pick(float uniform) const;
    chat::TokenScore score(std::span<const float> row, float largest, chat::TokenId id,
                           std::size_t alternatives);
    std::vector<chat::TokenId> likeliest_ids(std::span<const float> row, std::size_t count) const;

    const text::Tokenizer& tokenizer_;
    std::vector<Range> ranges_;    // ascending; rows between them have no token
    std::vector<float> adjusted_;  // the row after penalties, bias and masks, if there are any
    std::vector<Candidate> scratch_;
    std::span<Candidate> candidates_;  // by ascending id; the first ones of scratch_
};

}  // namespace holdfast::engine
