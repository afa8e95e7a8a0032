// From the ids of one choice to what its reader sees.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/chat/event.h"
#include "common/chat/request.h"
#include "inference/text/splitter.h"
#include "inference/text/tokenizer.h"

namespace holdfast::engine {

// What decides how a choice's ids become text and when it ends.
struct OutputRules {
    std::vector<chat::TokenId> end_ids;  // end-of-sequence (unless ignored) and stop ids
    std::vector<std::string> stop;
    std::uint32_t min_tokens = 0;
    std::uint32_t tokens_max = 0;  // from max_tokens and the context; at least 1
    bool splits_reasoning = false;
    bool starts_thinking = false;
    std::string echo;  // comes before the first token's text
};

// The pipeline ids -> end ids -> detokenizer -> stop strings -> reasoning splitter. All its state
// follows from the ids fed, so a resume feeds the delivered ids and drops what comes out. Used by
// one thread at a time; the tokenizer must outlive it.
//
// Stop strings are looked for in the text of the tokens after the first min_tokens, wherever a
// token's boundary falls. An end id makes no text; nor do other special tokens.
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
    void show(std::string_view visible, Text& text);
    void end(chat::FinishReason reason, Text& text);
    void flush_held_back(Text& text);

    OutputRules rules_;
    text::Detokenizer detokenizer_;
    text::StopMatcher stops_;
    text::ReasoningSplitter splitter_;
    std::uint32_t tokens_ = 0, reasoning_tokens_ = 0;
    std::optional<chat::FinishReason> finish_;
};

}  // namespace holdfast::engine
