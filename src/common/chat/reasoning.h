// Where thinking ends and the answer begins.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast::chat {

// Splits an answer at the first `</think>`; a later one is content. Works on text, so it serves the
// engine as well as servers that leave the thinking in the content. How the text is cut into feeds
// changes nothing. All state is rebuilt by feeding the same text again.
//
// Newlines (LF and CR) next to a tag belong to neither part. `<think>` counts as a tag only at the
// start of the output, with or without newlines before it, and also where the prompt has opened it
// already. Output without any tag keeps all its newlines, except that those at the start of
// thinking follow the prompt's `<think>`. Takes constant time a byte; holds back a run of newlines
// and less than a tag. One per choice.
class ReasoningSplitter {
public:
    enum class Start : std::uint8_t {
        answer,           // no tag yet: what comes is the answer unless it begins with <think>
        thinking,         // the prompt ends with <think>
        within_thinking,  // goes on with thinking of which a part is known
    };
    explicit ReasoningSplitter(Start start)
        : thinking_(start != Start::answer), at_start_(start != Start::within_thinking) {}
    struct Parts {
        std::string reasoning, content;
    };
    Parts feed(std::string_view text);
    Parts flush();  // held-back text that might have been the start of a tag
    bool thinking() const { return thinking_; }
    // Nothing is held back, and all that is still to come is the answer.
    bool settled() const {
        return !thinking_ && !at_start_ && !after_tag_ && newlines_.empty() && tag_.empty();
    }

private:
    void feed_byte(char byte, Parts& parts);
    bool feed_tag(char byte);
    void enter(bool thinking);
    void release(Parts& parts);

    bool thinking_;
    bool at_start_;           // of the output: `<think>` is still a tag
    bool after_tag_ = false;  // leading newlines are dropped
    std::string newlines_;    // held back, before tag_
    std::string tag_;         // held back: a proper prefix of a tag
};

}  // namespace holdfast::chat
