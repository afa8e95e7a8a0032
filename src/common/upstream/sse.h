// Server-sent events, read incrementally (WHATWG HTML, section "Server-sent events").
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/error.h"

namespace holdfast::upstream {

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
    // `next` or `feed`. Code::corrupt when an event grows past the limit.
    base::Result<std::optional<Event>> next();

private:
    std::optional<std::string_view> next_line();
    void take_field(std::string_view line);
    std::string_view data() const;
    void copy_data();
    bool skip_byte_order_mark();
    std::unexpected<base::Error> too_large() const;

    std::size_t event_bytes_max_;
    std::string buffer_;
    std::size_t consumed_ = 0;  // bytes of buffer_ whose lines have been read
    std::size_t scanned_ = 0;   // bytes after consumed_ that hold no line end
    // The data of the event under way. A single line, as nearly every event has, is left where it
    // lies in buffer_; only a second line, or the next feed, makes a copy.
    std::string data_, type_;
    std::size_t line_at_ = 0, line_size_ = 0;
    enum class Data { none, line, copy } has_data_ = Data::none;  // an empty data line counts
    bool delivered_ = false;  // data_ and type_ are the caller's until the next call
    bool after_carriage_return_ = false;
    bool at_start_ = true;
};

}  // namespace holdfast::upstream
