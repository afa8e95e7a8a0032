#include "http/sse.h"

namespace holdfast::http {

void SseParser::feed(std::string_view bytes) {
    // What has been consumed is dropped here, so that the buffer holds one partial line at most
    // plus what the caller has not taken out yet.
    if (consumed_ > 0) {
        buffer_.erase(0, consumed_);
        consumed_ = 0;
    }
    buffer_.append(bytes);
}

base::Result<std::optional<SseParser::Event>> SseParser::next() {
    if (delivered_) {
        data_.clear();
        type_.clear();
        has_data_ = false;
        delivered_ = false;
    }
    if (at_start_ && !skip_byte_order_mark()) return std::nullopt;
    while (const auto line = next_line()) {
        if (!line->empty()) {
            take_field(*line);
            if (data_.size() > event_bytes_max_) return too_large();
            continue;
        }
        if (!has_data_) {  // The standard: without data nothing is dispatched.
            type_.clear();
            continue;
        }
        delivered_ = true;
        return Event{.type = type_, .data = data_};
    }
    if (buffer_.size() - consumed_ + data_.size() > event_bytes_max_) return too_large();
    return std::nullopt;
}

std::unexpected<base::Error> SseParser::too_large() const {
    return base::fail(base::Code::corrupt, "a server-sent event is larger than {} bytes",
                      event_bytes_max_);
}

bool SseParser::skip_byte_order_mark() {
    constexpr std::string_view mark = "\xef\xbb\xbf";
    const std::string_view rest = std::string_view(buffer_).substr(consumed_);
    if (rest.size() < mark.size() && mark.starts_with(rest)) return false;
    if (rest.starts_with(mark)) consumed_ += mark.size();
    at_start_ = false;
    return true;
}

std::optional<std::string_view> SseParser::next_line() {
    std::string_view rest = std::string_view(buffer_).substr(consumed_);
    // A CR ends a line at once; an LF that follows it belongs to it, whenever it comes.
    if (after_carriage_return_ && !rest.empty()) {
        after_carriage_return_ = false;
        if (rest.front() == '\n') {
            rest.remove_prefix(1);
            ++consumed_;
            scanned_ = 0;
        }
    }
    const std::size_t end = rest.find_first_of("\r\n", scanned_);
    if (end == std::string_view::npos) {
        scanned_ = rest.size();
        return std::nullopt;
    }
    scanned_ = 0;
    consumed_ += end + 1;
    after_carriage_return_ = rest[end] == '\r';
    return rest.substr(0, end);
}

void SseParser::take_field(std::string_view line) {
    const std::size_t colon = line.find(':');
    if (colon == 0) return;  // A comment.
    const std::string_view name = line.substr(0, colon);
    std::string_view value;
    if (colon != std::string_view::npos) value = line.substr(colon + 1);
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (name == "data") {
        if (has_data_) data_.push_back('\n');
        data_.append(value);
        has_data_ = true;
    } else if (name == "event") {
        type_.assign(value);
    }
}

}  // namespace holdfast::http
