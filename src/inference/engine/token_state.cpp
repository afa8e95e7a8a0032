#include "inference/engine/token_state.h"

#include <limits>
#include <utility>

namespace holdfast::engine {

TokenState::TokenState(const text::Tokenizer& tokenizer, const chat::Sampling& sampling,
                       TokenRules rules, std::span<const chat::TokenId> prompt)
    : history_(sampling, prompt),
      late_ids_(std::move(rules.late_ids)),
      min_tokens_(rules.output.min_tokens),
      output_(tokenizer, std::move(rules.output)) {}

Output::Text TokenState::feed(chat::TokenId id) {
    history_.add(id);
    return output_.feed(id);
}

bool TokenState::replay(std::span<const chat::TokenId> ids) {
    for (const chat::TokenId id : ids) {
        if (output_.finish()) return false;
        feed(id);
    }
    return true;
}

void TokenState::mask(std::span<float> logits) const {
    for (const chat::TokenId id : late_ids_)
        logits[static_cast<std::size_t>(id)] = -std::numeric_limits<float>::infinity();
}

}  // namespace holdfast::engine
