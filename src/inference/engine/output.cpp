#include "inference/engine/output.h"

#include <algorithm>
#include <utility>

#include "common/base/assert.h"

namespace holdfast::engine {

Output::Output(const text::Tokenizer& tokenizer, OutputRules rules)
    : rules_(std::move(rules)),
      detokenizer_(tokenizer),
      splitter_(rules_.starts_thinking ? chat::ReasoningSplitter::Start::thinking
                                       : chat::ReasoningSplitter::Start::answer),
      reasoning_stops_(rules_.stop_in_reasoning ? rules_.stop : std::vector<std::string>()),
      content_stops_(rules_.stop) {
    HF_ASSERT(rules_.tokens_max >= 1);
}

Output::Text Output::feed(chat::TokenId id) {
    HF_ASSERT(!finish_);
    Text text;
    if (tokens_ == 0) text.content = std::move(rules_.echo);
    ++tokens_;
    if (thinking()) ++reasoning_tokens_;

    if (tokens_ > rules_.min_tokens &&
        std::ranges::find(rules_.end_ids, id) != rules_.end_ids.end()) {
        flush_held_back(text);
        end(chat::FinishReason::stop, text);
        return text;
    }
    show(split(detokenizer_.feed(id)), text);
    if (!finish_ && tokens_ >= rules_.tokens_max) {
        flush_held_back(text);
        end(chat::FinishReason::length, text);
    }
    return text;
}

chat::ReasoningSplitter::Parts Output::split(std::string_view visible) {
    if (rules_.splits_reasoning) return splitter_.feed(visible);
    return {.content = std::string(visible)};
}

// The thinking comes first: content in the same parts stands behind it.
void Output::show(const chat::ReasoningSplitter::Parts& parts, Text& text) {
    const bool stopped = show_until_stop(parts.reasoning, reasoning_stops_, text.reasoning);
    if (!stopped && !thinking()) text.reasoning += reasoning_stops_.flush();
    if (stopped || show_until_stop(parts.content, content_stops_, text.content))
        end(chat::FinishReason::stop, text);
}

bool Output::show_until_stop(std::string_view part, chat::StopMatcher& stops,
                             std::string& shown) const {
    if (rules_.stop.empty() || tokens_ <= rules_.min_tokens) {
        shown += part;
        return false;
    }
    const chat::StopMatcher::Output matched = stops.feed(part);
    shown += matched.text;
    return matched.stopped;
}

// What was held back is text after all, and may complete a stop string.
void Output::flush_held_back(Text& text) {
    show(split(detokenizer_.flush()), text);
    if (!finish_ && rules_.splits_reasoning) show(splitter_.flush(), text);
    if (finish_) return;
    text.reasoning += reasoning_stops_.flush();
    text.content += content_stops_.flush();
}

void Output::end(chat::FinishReason reason, Text& text) {
    if (!finish_) finish_ = reason;
    text.finish = finish_;
}

}  // namespace holdfast::engine
