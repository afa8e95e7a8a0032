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

// One thread; owns scratch memory for one row and allocates no more per token, unless log
// probabilities are asked for. The result is a function of its arguments, bit for bit.
//
// Order of operations:
//   1. ids without a token (padding rows of the head) are masked; a NaN or +inf is an error
//   2. log probabilities: log-softmax of the row as it is now, before everything below
//   3. repetition penalty, then frequency and presence penalties, then logit_bias
//   4. what the token state says must not come next is masked
//   5. temperature 0: the largest logit, the lowest id among equals. Otherwise
//   6. weights exp((logit - largest) / temperature); below e^-32 a weight counts as 0, which all
//      ids of the largest vocabulary together could not make visible in a 24-bit random number
//   7. top_k, top_p (the fewest likeliest ids with at least that share), min_p; equal logits rank
//      by id
//   8. inverse of the cumulative weights at base::uniform(seed, choice, position), by ascending id
//      if neither top_k nor top_p is set, else by descending weight
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
    base::Result<Draw> sample(std::span<const float> row, const chat::Request& request,
                              std::uint32_t choice, const TokenState& state);

private:
    // Ids that have a token: [begin, end).
    struct Range {
        std::size_t begin, end;
        std::span<const float> of(std::span<const float> row) const {
            return row.subspan(begin, end - begin);
        }
    };
    static bool likelier(const Candidate& a, const Candidate& b);

    RowScan scan_tokens(std::span<const float> row) const;
    void adjust(const chat::Sampling& sampling, const TokenState& state);
    base::Result<chat::TokenId> draw(std::span<const float> row, float largest,
                                     const chat::Sampling& sampling, std::uint32_t choice,
                                     std::uint32_t position);
    chat::TokenId first_id(std::span<const float> row, float logit) const;
    void collect_candidates(std::span<const float> row, float largest, float temperature);
    void keep_first(std::size_t count) { candidates_ = candidates_.first(count); }
    void keep_top_k(std::size_t k);
    void weigh(float largest, float temperature);
    void keep_top_p(double share);
    chat::TokenScore score(std::span<const float> row, float largest, chat::TokenId id,
                           std::size_t alternatives);
    std::vector<chat::TokenId> likeliest_ids(std::span<const float> row, std::size_t count) const;

    const text::Tokenizer& tokenizer_;
    std::vector<Range> ranges_;    // ascending; rows between them have no token
    std::vector<float> adjusted_;  // the row after penalties, bias and masks, if there are any
    std::vector<Candidate> scratch_;
    std::span<Candidate> candidates_;  // the first ones of scratch_
};

}  // namespace holdfast::engine
