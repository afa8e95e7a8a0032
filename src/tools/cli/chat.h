#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/base/clock.h"
#include "tools/cli/terminal.h"

namespace holdfast::cli {

struct ChatOptions {
    std::string url;
    std::string api_key;
    std::string model;                  // empty: the first one that the service offers
    std::optional<std::string> prompt;  // one question; none: read it, or talk
    std::string system;
    std::optional<double> temperature;
    std::optional<std::uint64_t> seed;
    std::optional<std::uint32_t> max_tokens;
    bool hide_thinking = false;
};

// `holdfast chat`: one answer to `prompt` or to piped input, or a conversation at a terminal. The
// answer goes to streams.output, everything else to streams.error. Returns the exit code: 0, 1
// after an error, 130 when the one answer was interrupted.
int run_chat(const ChatOptions& options, Streams streams, const base::Clock& clock);

}  // namespace holdfast::cli
