// From a request to a group that the engine can run: template, tokens, checks, replay.
#pragma once

#include <cstdint>
#include <memory>

#include "common/base/error.h"
#include "common/chat/request.h"
#include "inference/engine/sequence.h"
#include "inference/model/model.h"
#include "inference/text/tokenizer.h"

namespace holdfast::engine {

// Immutable; any thread may call. The tokenizer must outlive it and every group it made.
class Preparer {
public:
    // `tokens_max` is what the KV cache can hold for one sequence.
    Preparer(const text::Tokenizer& tokenizer, text::ChatTemplate chat_template, model::Shape shape,
             std::uint32_t tokens_max);

    // Cost is linear in prompt and resume. Choices whose resumed ids already end the answer come
    // back finished; channel, deadline and arrival are the caller's to fill in.
    //
    // A text prompt gets in front what the model's tokenizer puts there, such as a BOS
    // (text::Tokenizer::begin); a prompt of ids is taken as it is.
    //
    // Errors: invalid with the field's name, for a prompt and max_tokens beyond the context with
    // tag context_length_exceeded and both numbers.
    base::Result<std::unique_ptr<Group>> prepare(chat::Generation request) const;

private:
    base::Result<std::vector<chat::TokenId>> prompt_ids(const chat::Generation& request) const;
    base::Result<void> check(const chat::Generation& request) const;
    base::Result<std::uint32_t> tokens_max(const chat::Generation& request,
                                           std::size_t prompt_tokens) const;
    TokenRules token_rules(const chat::Generation& request,
                           std::span<const chat::TokenId> prompt) const;
    OutputRules output_rules(const chat::Generation& request,
                             std::span<const chat::TokenId> prompt) const;
    base::Result<void> replay(Sequence& sequence, const chat::Generation& request) const;
    bool exists(chat::TokenId id) const;

    const text::Tokenizer& tokenizer_;
    const text::ChatTemplate chat_template_;
    const model::Shape shape_;
    const std::uint32_t cache_tokens_max_;
};

}  // namespace holdfast::engine
