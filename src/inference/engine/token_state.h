// Everything about one choice that follows from the ids it has generated.
#pragma once

#include <span>
#include <vector>

#include "common/chat/request.h"
#include "inference/engine/history.h"
#include "inference/engine/output.h"
#include "inference/text/tokenizer.h"

namespace holdfast::engine {

// What decides how a choice goes on, beside the model.
struct TokenRules {
    OutputRules output;
    // Not to be drawn before output.min_tokens: all that may end a choice, and end-of-sequence even
    // where it is ignored.
    std::vector<chat::TokenId> late_ids;
};

// Penalties, text, stop strings, thinking, usage and the ids that must not come next. Whatever is
// kept for a choice from token to token belongs here: it is fed ids, one after the other, and
// nothing else, so a resume rebuilds it by feeding the delivered ones. Used by one thread at a
// time; the tokenizer must outlive it. A copy goes its own way.
class TokenState {
public:
    TokenState(const text::Tokenizer& tokenizer, const chat::Sampling& sampling, TokenRules rules,
               std::span<const chat::TokenId> prompt);

    // The next id: what it makes visible. Asserts that the choice has not finished.
    Output::Text feed(chat::TokenId id);
    // Feeds ids that were said before, and says nothing. False: the choice ended before the last.
    [[nodiscard]] bool replay(std::span<const chat::TokenId> ids);

    // Some ids must not come next.
    bool masks() const { return output_.tokens() < min_tokens_; }
    // Makes their logits -inf. `logits` has a row of the head's; call it only if masks().
    void mask(std::span<float> logits) const;

    const History& history() const { return history_; }
    const Output& output() const { return output_; }

private:
    History history_;
    std::vector<chat::TokenId> late_ids_;
    std::uint32_t min_tokens_;
    Output output_;
};

}  // namespace holdfast::engine
