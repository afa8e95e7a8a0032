#include "inference/engine/output.h"

#include <algorithm>
#include <utility>

#include "common/base/assert.h"

namespace holdfast::engine {

Output::Output(const text::Tokenizer& tokenizer, OutputRules rules)
    : rules_(std::move(rules)),
      detokenizer_(tokenizer),
      stops_(rules_.stop),
      splitter_(rules_.starts_thinking) {
    HF_ASSERT(rules_.tokens_max >= 1);
}

Output::Text Output::feed(chat::TokenId id) {
    HF_ASSERT(!finish_);
    Text text;
    if (tokens_ == 0) text.content = std::move(rules_.echo);
    ++tokens_;
    if (thinking()) ++reasoning_tokens_;

    const bool may_stop = tokens_ > rules_.min_tokens;
    if (may_stop && std::ranges::find(rules_.end_ids, id) != rules_.end_ids.end()) {
        flush_held_back(text);
        end(chat::FinishReason::stop, text);
        return text;
    }
    std::string made = detokenizer_.feed(id);
    if (may_stop && !rules_.stop.empty()) {
        text::StopMatcher::Output matched = stops_.feed(made);
        made = std::move(matched.text);
        if (matched.stopped) {
            show(made, text);
            end(chat::FinishReason::stop, text);
            return text;
        }
    }
    show(made, text);
    if (tokens_ >= rules_.tokens_max) {
        flush_held_back(text);
        end(chat::FinishReason::length, text);
    }
    return text;
}

void Output::show(std::string_view visible, Text& text) {
    if (!rules_.splits_reasoning) {
        text.content += visible;
        return;
    }
    const text::ReasoningSplitter::Parts parts = splitter_.feed(visible);
    text.reasoning += parts.reasoning;
    text.content += parts.content;
}

// Half a character cannot complete a stop string, but what it becomes follows the held-back text.
void Output::flush_held_back(Text& text) {
    const std::string rest = detokenizer_.flush();
    const text::StopMatcher::Output matched = stops_.feed(rest);
    show(matched.text, text);
    if (!matched.stopped) show(stops_.flush(), text);
}

void Output::end(chat::FinishReason reason, Text& text) {
    if (rules_.splits_reasoning) {
        const text::ReasoningSplitter::Parts rest = splitter_.flush();
        text.reasoning += rest.reasoning;
        text.content += rest.content;
    }
    finish_ = text.finish = reason;
}

}  // namespace holdfast::engine
