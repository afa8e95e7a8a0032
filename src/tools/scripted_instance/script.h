// What a scripted instance says: the bytes of its answers, made once and sent many times.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/chat/request.h"

namespace holdfast::scripted_instance {

inline constexpr std::string_view model_name = "scripted";

// The part of a request that decides the answer. A client writes the last two into `user`, which
// every proxy passes on: "event_bytes=1024 pause_us=10000".
struct Ask {
    std::uint32_t events = 1;       // max_tokens: one token each
    bool want_ids = false;          // a gateway asks
    bool want_usage = false;        // stream_options.include_usage
    std::uint32_t event_bytes = 5;  // text of one event
    std::uint32_t pause_us = 0;     // before each event but the first
    auto operator<=>(const Ask&) const = default;
};

// Errors: invalid, for a model that is not this one and for a script that cannot be played.
base::Result<Ask> read_ask(const chat::Request& request);

struct Script {
    std::vector<std::string> events;  // of a stream; the last with finish, usage and [DONE]
    std::string whole;                // the body of an answer that is not streamed
};

// One thread. Keeps at most `scripts_max` scripts; clients ask for very few different ones. An
// answer under way holds its script.
class Scripts {
public:
    std::shared_ptr<const Script> of(const Ask& ask);

private:
    static constexpr std::size_t scripts_max = 64;
    std::map<Ask, std::shared_ptr<const Script>> scripts_;
};

}  // namespace holdfast::scripted_instance
