// From detokenized text to thinking, answer and stop strings. All state is rebuilt by feeding the
// same ids again: that is what a resume does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::text {

// Splits an answer at the first `</think>`; a later one is content. Works on text, so it also
// serves external servers that do not split. How the text is cut into feeds changes nothing.
//
// Newlines next to a tag belong to neither part. `<think>` counts as a tag only at the start of the
// output, with or without newlines before it, and also where the prompt has opened it already.
// Output without any tag keeps all its newlines, except that those at the start of thinking follow
// the prompt's `<think>`. Takes constant time a byte; holds back a run of newlines and less than a
// tag. One per choice.
class ReasoningSplitter {
public:
    explicit ReasoningSplitter(bool starts_thinking) : thinking_(starts_thinking) {}
    struct Parts {
        std::string reasoning, content;
    };
    Parts feed(std::string_view text);
    Parts flush();  // held-back text that might have been the start of a tag
    bool thinking() const { return thinking_; }

private:
    void feed_byte(char byte, Parts& parts);
    bool feed_tag(char byte);
    void enter(bool thinking);
    void release(Parts& parts);

    bool thinking_;
    bool at_start_ = true;    // of the output: `<think>` is still a tag
    bool after_tag_ = false;  // leading newlines are dropped
    std::string newlines_;    // held back, before tag_
    std::string tag_;         // held back: a proper prefix of a tag
};

// Finds the stop string that is complete first in a stream, holding back what might become one. If
// several end at the same byte, the longest counts. Each feed must consist of whole characters, and
// so does the output. Empty stop strings are ignored. One per choice.
class StopMatcher {
public:
    explicit StopMatcher(std::vector<std::string> stops);
    struct Output {
        std::string text;      // safe to show
        bool stopped = false;  // a stop string was found; it and what follows are dropped
    };
    Output feed(std::string_view text);  // once stopped, always empty and stopped
    std::string flush();

private:
    // One stop string and how much of it the text so far ends with (Knuth, Morris, Pratt: "Fast
    // pattern matching in strings", SIAM J. Comput. 6, 1977).
    struct Stop {
        std::string text;
        std::vector<std::size_t> border;  // of each prefix: its longest proper border
        std::size_t matched = 0;
    };
    static Stop prepare(std::string text);
    static void advance(Stop& stop, char byte);

    std::vector<Stop> stops_;
    std::string pending_;  // as long as the longest match in progress
    bool stopped_ = false;
};

}  // namespace holdfast::text
