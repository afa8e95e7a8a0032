// From detokenized text to thinking, answer and stop strings. All state is rebuilt by feeding the
// same ids again: that is what a resume does.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::text {

// Splits an answer at `</think>`. Works on text, so it also serves external servers that do not
// split. The newlines around the tags belong to neither part.
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
    bool thinking_;
    bool seen_text_ = false;  // of the current part: leading newlines are dropped until then
    std::string pending_;
};

// Finds the earliest stop string in a stream, holding back what might become one.
class StopMatcher {
public:
    explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}
    struct Output {
        std::string text;      // safe to show
        bool stopped = false;  // a stop string was found; it and what follows are dropped
    };
    Output feed(std::string_view text);
    std::string flush();

private:
    std::vector<std::string> stops_;
    std::string pending_;
};

}  // namespace holdfast::text
