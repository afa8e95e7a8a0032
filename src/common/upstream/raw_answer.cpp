#include "common/upstream/raw_answer.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/base/assert.h"

namespace holdfast::upstream {

namespace {

using Start = chat::ReasoningSplitter::Start;

std::unexpected<base::Error> said_too_much() {
    return std::unexpected(base::Error{base::Code::corrupt,
                                       "The instance said more than was asked for.",
                                       base::Origin::instance, base::Retry::elsewhere});
}

}  // namespace

RawAnswer::RawAnswer(const chat::Stopping& stopping, bool splits, RawPrompt prompt)
    : stopping_(stopping),
      splits_(splits),
      prompt_(std::move(prompt)),
      splitter_(prompt_.opens_thinking ? Start::thinking : Start::answer),
      reasoning_stops_(stopping.stop_in_reasoning ? stopping.stop : std::vector<std::string>()),
      stops_(stopping.stop) {
    if (!prompt_.ids.empty()) prompt_tokens_ = static_cast<std::uint32_t>(prompt_.ids.size());
}

void RawAnswer::begin_attempt() {
    tokens_before_ = tokens_;
    told_ = 0;
    waiting_ids_.clear();
    waiting_scores_.clear();
    complete_ = stopping_.max_tokens && tokens_ > 0 && tokens_ >= *stopping_.max_tokens;
}

base::Result<chat::Event> RawAnswer::feed(RawPiece piece) {
    HF_ASSERT(!finished_);
    if (complete_) {
        chat::Event end;
        finish(chat::FinishReason::length, end);
        return end;
    }
    take_counts(piece);
    std::ranges::move(piece.scores, std::back_inserter(waiting_scores_));
    chat::Event event;
    if (piece.text.empty() && !piece.finish) return event;

    const bool thinking = splits_ && splitter_.thinking();
    const bool ended = ended_by_id();
    if (ended) piece.text.clear();
    remember(piece.text);
    const std::uint32_t before = std::exchange(tokens_, tokens_before_ + told_);
    if (stopping_.max_tokens && tokens_ > *stopping_.max_tokens) return said_too_much();
    if (thinking) reasoning_tokens_ += tokens_ - before;
    event.scores = std::exchange(waiting_scores_, {});
    show(piece.text, event);
    if (event.finish) {
        finish(*event.finish, event);
    } else if (ended || piece.finish) {
        finish(ended ? chat::FinishReason::stop : *piece.finish, event);
    }
    return event;
}

// Some servers count, some tell ids, some do both; without either a piece of text is a token.
void RawAnswer::take_counts(const RawPiece& piece) {
    if (prompt_.ids.empty() && tokens_ == 0) prompt_.ids = piece.prompt_ids;
    if (!prompt_tokens_ && !prompt_.ids.empty())
        prompt_tokens_ = static_cast<std::uint32_t>(prompt_.ids.size());
    if (!prompt_tokens_ && piece.prompt_tokens)
        prompt_tokens_ = *piece.prompt_tokens - std::min(*piece.prompt_tokens, tokens_before_);
    waiting_ids_.insert(waiting_ids_.end(), piece.ids.begin(), piece.ids.end());
    auto more = static_cast<std::uint32_t>(piece.ids.size());
    if (more == 0 && piece.tokens == 0 && !piece.text.empty()) more = 1;
    told_ = std::max(told_ + more, piece.tokens);
}

// Where ids are missing the text stands for all the tokens that it came from.
void RawAnswer::remember(const std::string& text) {
    const std::vector<chat::TokenId> ids = std::exchange(waiting_ids_, {});
    if (ids.size() == tokens_before_ + told_ - tokens_) {
        if (said_.empty() || !said_.back().text.empty()) said_.emplace_back();
        said_.back().ids.insert(said_.back().ids.end(), ids.begin(), ids.end());
    } else if (!text.empty()) {
        if (said_.empty() || !said_.back().ids.empty()) said_.emplace_back();
        said_.back().text += text;
    }
}

// Servers that do not know of such ids go on after them.
bool RawAnswer::ended_by_id() const {
    if (waiting_ids_.empty() || tokens_before_ + told_ <= stopping_.min_tokens) return false;
    return std::ranges::find(stopping_.stop_token_ids, waiting_ids_.back()) !=
           stopping_.stop_token_ids.end();
}

void RawAnswer::show(std::string_view text, chat::Event& event) {
    show_parts(splits_
                   ? splitter_.feed(text)
                   : chat::ReasoningSplitter::Parts{.reasoning = {}, .content = std::string(text)},
               event);
}

// Stop strings are looked for in what the client sees, in the answer and, if that is wanted, in the
// thinking. The thinking comes first: content in the same parts stands behind it.
void RawAnswer::show_parts(const chat::ReasoningSplitter::Parts& parts, chat::Event& event) {
    const bool stopped = show_until_stop(parts.reasoning, reasoning_stops_, event.reasoning);
    if (!stopped && !splitter_.thinking()) event.reasoning += reasoning_stops_.flush();
    if (stopped || show_until_stop(parts.content, stops_, event.content))
        event.finish = chat::FinishReason::stop;
}

bool RawAnswer::show_until_stop(std::string_view part, chat::StopMatcher& stops,
                                std::string& shown) const {
    if (tokens_ <= stopping_.min_tokens) {
        shown += part;
        return false;
    }
    const chat::StopMatcher::Output matched = stops.feed(part);
    shown += matched.text;
    return matched.stopped;
}

void RawAnswer::finish(chat::FinishReason reason, chat::Event& event) {
    finished_ = true;
    const bool stopped = event.finish.has_value();
    if (!stopped && splits_) show_parts(splitter_.flush(), event);
    if (!event.finish) {
        event.reasoning += reasoning_stops_.flush();
        event.content += stops_.flush();
        event.finish = reason;
    }
    event.usage = chat::Usage{.prompt_tokens = prompt_tokens_.value_or(0),
                              .completion_tokens = tokens_,
                              .reasoning_tokens = reasoning_tokens_};
}

}  // namespace holdfast::upstream
