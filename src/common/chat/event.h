// What generation says, one event at a time. An event is atomic: its ids and the text that they
// made visible belong together, and a resume starts after a whole event.
#pragma once

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/chat/request.h"

namespace holdfast::chat {

enum class FinishReason { stop, length, tool_calls, content_filter };

// As OpenAI's API spells it.
constexpr std::string_view name(FinishReason reason) {
    switch (reason) {
        case FinishReason::stop:
            return "stop";
        case FinishReason::length:
            return "length";
        case FinishReason::tool_calls:
            return "tool_calls";
        case FinishReason::content_filter:
            return "content_filter";
    }
    return "stop";
}

struct Usage {
    std::uint32_t prompt_tokens = 0;
    std::uint32_t completion_tokens =
        0;                               // all generated ids, thinking and end-of-sequence included
    std::uint32_t reasoning_tokens = 0;  // of these, up to and including `</think>`
    // Of the prompt, read from the prefix cache. Told to a worker's own clients alone: an answer
    // through a gateway may move between instances, must be repeatable and has 0; metrics know.
    std::uint32_t cached_tokens = 0;
};

struct TokenScore {
    TokenId id = 0;
    std::string bytes;     // the token's own bytes, perhaps half a character
    float logprob = 0.0F;  // natural logarithm, of the distribution before temperature
    struct Alternative {
        TokenId id = 0;
        std::string bytes;
        float logprob = 0.0F;
    };
    std::vector<Alternative> top;  // likeliest first
};

struct Event {
    std::uint32_t choice = 0;
    // Generated since the last event of this choice. A few need no memory of their own.
    boost::container::small_vector<TokenId, 4> ids;
    std::string reasoning;               // whole characters only
    std::string content;                 // whole characters only
    std::vector<TokenScore> scores;      // one per id, when log probabilities were asked for
    std::vector<ToolCall> tool_calls;    // whole ones; none yet
    std::optional<FinishReason> finish;  // last event of this choice
    // Where the instance tells it before the end, on the first event: for APIs that begin an answer
    // with the prompt's length.
    std::optional<std::uint32_t> prompt_tokens;
    std::optional<Usage> usage;  // on the last event of the last choice: the request's total
};

}  // namespace holdfast::chat
