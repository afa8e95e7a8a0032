// Server-sent events, read incrementally (WHATWG HTML, section "Server-sent events").
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace holdfast::http {

// Feed it bytes as they come, take whole events out. Handles LF, CRLF and CR line ends, comments
// and multi-line data. An event that never ends is refused above `event_bytes_max`.
class SseParser {
public:
    explicit SseParser(std::size_t event_bytes_max = 4 * 1024 * 1024)
        : event_bytes_max_(event_bytes_max) {}

    struct Event {
        std::string_view type;  // empty for the default type
        std::string_view data;  // lines joined by '\n'
    };

    void feed(std::string_view bytes);
    // The next whole event, or nothing until more bytes come. Views hold until the next call of
    // either function. Code::corrupt when an event grows past the limit.
    base::Result<std::optional<Event>> next();

private:
    std::size_t event_bytes_max_;
    std::string buffer_;
    std::size_t consumed_ = 0;
    std::string data_, type_;
};

}  // namespace holdfast::http
