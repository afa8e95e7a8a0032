// From the ids of one choice to what its reader sees.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/chat/event.h"
#include "common/chat/reasoning.h"
#include "common/chat/request.h"
#include "common/chat/stop_matcher.h"
#include "inference/text/tokenizer.h"

namespace holdfast::engine {

// What decides how a choice's ids become text and when it ends.
struct OutputRules {
    std::vector<chat::TokenId> end_ids;  // end-of-sequence (unless ignored) and stop ids
    std::vector<std::string> stop;
    bool stop_in_reasoning = false;
    std::uint32_t min_tokens = 0;
    std::uint32_t tokens_max = 0;  // from max_tokens and the context; at least 1
    bool splits_reasoning = false;
    bool starts_thinking = false;
    std::string echo;  // comes before the first token's text
};

// The pipeline ids -> end ids -> detokenizer -> reasoning splitter -> stop strings. All its state
// follows from the ids fed, so a resume feeds the delivered ids and drops what comes out. Used by
// one thread at a time; the tokenizer must outlive it.
//
// Stop strings are looked for in what the reader sees: in the answer, and in the thinking if they
// are to; never in a tag, and never across the two. They are looked for in what becomes visible
// after the first min_tokens, wherever a token's boundary falls. An end id makes no text; nor do
// other special tokens.
class Output {
public:
    Output(const text::Tokenizer& tokenizer, OutputRules rules);

    struct Text {
        std::string reasoning, content;
        std::optional<chat::FinishReason> finish;  // then everything held back is in the text
    };
    // Asserts that the choice has not finished.
    Text feed(chat::TokenId id);

    std::optional<chat::FinishReason> finish() const { return finish_; }
    std::uint32_t tokens() const { return tokens_; }
    std::uint32_t tokens_left() const { return rules_.tokens_max - tokens_; }
    std::uint32_t reasoning_tokens() const { return reasoning_tokens_; }
    // The text that comes next is thinking.
    bool thinking() const { return rules_.splits_reasoning && splitter_.thinking(); }

private:
    chat::ReasoningSplitter::Parts split(std::string_view visible);
    void show(const chat::ReasoningSplitter::Parts& parts, Text& text);
    bool show_until_stop(std::string_view part, chat::StopMatcher& stops, std::string& shown) const;
    void flush_held_back(Text& text);
    void end(chat::FinishReason reason, Text& text);

    OutputRules rules_;
    text::Detokenizer detokenizer_;
    chat::ReasoningSplitter splitter_;
    chat::StopMatcher reasoning_stops_, content_stops_;
    std::uint32_t tokens_ = 0, reasoning_tokens_ = 0;
    std::optional<chat::FinishReason> finish_;
};

}  // namespace holdfast::engine
