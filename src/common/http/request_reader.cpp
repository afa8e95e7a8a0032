#include "common/http/request_reader.h"

#include <algorithm>

#include "common/http/characters.h"

namespace holdfast::http {

Parsed<std::size_t> RequestReader::feed(std::string_view bytes) {
    std::size_t taken = 0;
    if (!head_done_) {
        auto head = feed_head(bytes);
        if (!head) return head;
        taken = *head;
    }
    if (!head_done_ || complete_) return taken;
    auto body = feed_body(bytes.substr(taken));
    if (!body) return body;
    return taken + *body;
}

Parsed<std::size_t> RequestReader::feed_head(std::string_view bytes) {
    // RFC 9112, section 2.2: one empty line before a request is ignored; old clients send it
    // after a body.
    std::size_t skipped = 0;
    if (buffer_.empty() && !skipped_empty_line_ && bytes.starts_with("\r\n")) {
        skipped_empty_line_ = true;
        skipped = 2;
        bytes.remove_prefix(2);
    }
    if (bytes.empty()) return skipped;
    // The usual case is a whole head in one read: it is parsed where it lies.
    const std::size_t kept = buffer_.size();
    if (kept > 0) buffer_.append(bytes);
    const std::string_view head = kept > 0 ? std::string_view(buffer_) : bytes;
    // A lone CR may still turn out to be the empty line before the request.
    const bool may_start = is_token(head.substr(0, 1)) || (head == "\r" && !skipped_empty_line_);
    if (kept == 0 && !may_start) {
        return std::unexpected(Refusal{400, "this is not an HTTP request"});
    }
    if (kept == 1 && buffer_.starts_with("\r")) {
        if (buffer_[1] != '\n') return std::unexpected(Refusal{400, "invalid request line"});
        skipped_empty_line_ = true;
        buffer_.clear();
        auto rest = feed_head(bytes.substr(1));
        if (!rest) return rest;
        return *rest + 1;
    }
    auto end = scanner_.scan(head);
    if (!end) return std::unexpected(end.error());
    if (*end == 0) {
        if (kept == 0) buffer_.assign(bytes);
        return skipped + bytes.size();
    }
    auto parsed = parse_request_head(head.substr(0, *end));
    if (!parsed) return std::unexpected(parsed.error());
    head_ = *std::move(parsed);
    head_done_ = true;
    complete_ = head_.framing == Framing::none;
    if (head_.framing == Framing::length && head_.length > body_bytes_max_) {
        return std::unexpected(Refusal{413, "the request body is too large"});
    }
    const std::size_t taken = *end - kept;
    buffer_ = std::string();
    return skipped + taken;
}

Parsed<std::size_t> RequestReader::feed_body(std::string_view bytes) {
    if (head_.framing == Framing::chunked) return feed_chunks(bytes);
    std::string& body = head_.request.body;
    const std::size_t size = std::min<std::uint64_t>(bytes.size(), head_.length - body.size());
    // The announced length is only believed as far as bytes come.
    if (size == head_.length) body.reserve(size);
    body.append(bytes.substr(0, size));
    complete_ = body.size() == head_.length;
    return size;
}

Parsed<std::size_t> RequestReader::feed_chunks(std::string_view bytes) {
    std::size_t taken = 0;
    while (!chunks_.done()) {
        auto step = chunks_.next(bytes.substr(taken));
        if (!step) return std::unexpected(step.error());
        if (step->consumed == 0) break;
        taken += step->consumed;
        const std::size_t room = body_bytes_max_ - head_.request.body.size();
        if (step->data.size() > room || chunks_.left() > room - step->data.size()) {
            return std::unexpected(Refusal{413, "the request body is too large"});
        }
        head_.request.body.append(step->data);
    }
    complete_ = chunks_.done();
    return taken;
}

RequestHead RequestReader::take() {
    RequestHead taken = std::move(head_);
    *this = RequestReader(head_limits_, body_bytes_max_);
    return taken;
}

}  // namespace holdfast::http
