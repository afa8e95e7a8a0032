// Collects requests from what a connection receives. Pure code: no sockets, no clock.
#pragma once

#include <string>
#include <string_view>

#include "common/http/parser.h"

namespace holdfast::http {

// Collects one request after another from the bytes of a connection.
class RequestReader {
public:
    RequestReader(HeadLimits head, std::size_t body_bytes_max)
        : head_limits_(head), body_bytes_max_(body_bytes_max), scanner_(head) {}

    // Gives how many bytes were taken; it takes all of them unless the request is complete.
    // After a refusal the connection cannot be read any further.
    Parsed<std::size_t> feed(std::string_view bytes);
    bool started() const { return !buffer_.empty() || head_done_; }
    bool head_done() const { return head_done_; }
    bool complete() const { return complete_; }
    // The head is there; body, if complete() too.
    const RequestHead& head() const { return head_; }
    // Gives the complete request away and gets ready for the next one.
    RequestHead take();

private:
    Parsed<std::size_t> feed_head(std::string_view bytes);
    Parsed<std::size_t> feed_body(std::string_view bytes);
    Parsed<std::size_t> feed_chunks(std::string_view bytes);

    HeadLimits head_limits_;
    std::size_t body_bytes_max_;
    HeadScanner scanner_;
    ChunkDecoder chunks_;
    std::string buffer_;  // an incomplete head
    RequestHead head_;
    bool head_done_ = false;
    bool complete_ = false;
    bool skipped_empty_line_ = false;
};

}  // namespace holdfast::http
