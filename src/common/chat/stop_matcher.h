// Stop strings in text. All state is rebuilt by feeding the same text again: that is what a resume
// does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::chat {

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

}  // namespace holdfast::chat
