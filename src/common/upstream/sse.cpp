#include "common/upstream/sse.h"

#include <algorithm>

namespace holdfast::upstream {

void SseParser::feed(std::string_view bytes) {
    if (!delivered_) copy_data();
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
        has_data_ = Data::none;
        delivered_ = false;
    }
    if (at_start_ && !skip_byte_order_mark()) return std::nullopt;
    while (const auto line = next_line()) {
        if (!line->empty()) {
            take_field(*line);
            if (data().size() > event_bytes_max_) return too_large();
            continue;
        }
        if (has_data_ == Data::none) {  // The standard: without data nothing is dispatched.
            type_.clear();
            continue;
        }
        delivered_ = true;
        return Event{.type = type_, .data = data()};
    }
    if (buffer_.size() - consumed_ + data().size() > event_bytes_max_) return too_large();
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
    // Two searches for one byte each: nearly all lines end with LF, and the libraries are fast
    // here.
    std::size_t end = rest.find('\n', scanned_);
    const std::size_t searched = std::min(end, rest.size()) - scanned_;
    const std::size_t carriage_return = rest.substr(scanned_, searched).find('\r');
    if (carriage_return != std::string_view::npos) end = scanned_ + carriage_return;
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
        if (has_data_ == Data::none) {
            const bool empty = value.empty();  // perhaps without any address
            line_at_ = empty ? 0 : static_cast<std::size_t>(value.data() - buffer_.data());
            line_size_ = value.size();
            has_data_ = Data::line;
            return;
        }
        copy_data();
        data_.push_back('\n');
        data_.append(value);
    } else if (name == "event") {
        type_.assign(value);
    }
}

std::string_view SseParser::data() const {
    if (has_data_ == Data::line) return std::string_view(buffer_).substr(line_at_, line_size_);
    return data_;
}

void SseParser::copy_data() {
    if (has_data_ != Data::line) return;
    data_ = data();
    has_data_ = Data::copy;
}

}  // namespace holdfast::upstream
