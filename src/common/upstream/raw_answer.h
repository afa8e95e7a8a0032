#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/chat/event.h"
#include "common/chat/reasoning.h"
#include "common/chat/stop_matcher.h"
#include "common/upstream/raw.h"

namespace holdfast::upstream {

// One raw answer over all its attempts: what was said so far, for the next attempt to go on from,
// and what the client sees of it. Thinking, stop strings and counts are decided here, so a loss
// changes nothing about them. Not thread-safe.
//
// Tokens whose text has not come (half a character) are shown, counted and gone on from only
// together with their text: an attempt that is lost before takes them along.
class RawAnswer {
public:
    // `splits`: it is the answer to messages, so thinking is told from the answer.
    RawAnswer(const chat::Stopping& stopping, bool splits, RawPrompt prompt);

    const RawPrompt& prompt() const { return prompt_; }
    std::span<const RawRun> said() const { return said_; }
    std::uint32_t tokens() const { return tokens_; }

    // Before the first piece of each attempt.
    void begin_attempt();
    // An event with nothing in it shows nothing. Code::corrupt if the server says more than was
    // asked for. Must not be called after the finish.
    base::Result<chat::Event> feed(RawPiece piece);
    bool finished() const { return finished_; }

private:
    void take_counts(const RawPiece& piece);
    void remember(const std::string& text);
    bool ended_by_id() const;
    void show(std::string_view text, chat::Event& event);
    void show_parts(const chat::ReasoningSplitter::Parts& parts, chat::Event& event);
    bool show_until_stop(std::string_view part, chat::StopMatcher& stops, std::string& shown) const;
    void finish(chat::FinishReason reason, chat::Event& event);

    chat::Stopping stopping_;
    bool splits_;
    RawPrompt prompt_;
    std::optional<std::uint32_t> prompt_tokens_;

    std::vector<RawRun> said_;
    std::uint32_t tokens_ = 0, reasoning_tokens_ = 0;

    // Of this attempt: tokens before it and in it, and what waits for its text.
    std::uint32_t tokens_before_ = 0, told_ = 0;
    std::vector<chat::TokenId> waiting_ids_;
    std::vector<chat::TokenScore> waiting_scores_;

    chat::ReasoningSplitter splitter_;
    chat::StopMatcher reasoning_stops_, stops_;
    bool complete_ = false;  // all that may be said was said; only the end was lost
    bool finished_ = false;
};

}  // namespace holdfast::upstream
