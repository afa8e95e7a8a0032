// The strict HTTP/1.1 message parser (RFC 9112). It never guesses: what two readers could frame
// differently is refused, because a disagreement about where a message ends is how requests are
// smuggled. Pure code: no sockets, no clock.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "common/http/message.h"

namespace holdfast::http {

// Why a message is refused: the status that a server answers, and a sentence (static text).
struct Refusal {
    int status = 400;
    std::string_view reason;
};

template <class T>
using Parsed = std::expected<T, Refusal>;

struct HeadLimits {
    std::size_t bytes_max;
    std::size_t fields_max;
};

// Finds the end of a head in bytes that arrive in pieces. Lines end with CRLF; a bare LF is
// refused where it stands, so that the sender need not wait for a time-out.
class HeadScanner {
public:
    explicit HeadScanner(HeadLimits limits) : limits_(limits) {}
    // `bytes` starts with the head's first byte and only ever grows. Gives the head's size with
    // the empty line, or 0 while that has not come.
    Parsed<std::size_t> scan(std::string_view bytes);

private:
    HeadLimits limits_;
    std::size_t line_start_ = 0;
    std::size_t searched_ = 0;
    std::size_t lines_ = 0;
};

struct RequestHead {
    Request request;  // without body and peer
    bool http_11 = true;
    bool keep_alive = true;
    bool expects_continue = false;
    Framing framing = Framing::none;
    std::uint64_t length = 0;  // for Framing::length
};

// `head` is what HeadScanner found, with its empty line.
Parsed<RequestHead> parse_request_head(std::string_view head);

struct ResponseHead {
    int status = 0;
    Headers headers;
    bool keep_alive = true;
    Framing framing = Framing::none;
    std::uint64_t length = 0;
};

// `method` decides whether there is a body at all (RFC 9112, section 6.3).
Parsed<ResponseHead> parse_response_head(std::string_view head, std::string_view method);

// RFC 9112, section 7.1. Takes the framing off, piece by piece, without copying.
class ChunkDecoder {
public:
    struct Step {
        std::size_t consumed = 0;  // bytes of the input that are done with
        std::string_view data;     // body bytes, part of the input; may be empty
    };
    // Reads from the front of `bytes`. Call it again with the rest until nothing is consumed or
    // `done`. Extensions are checked and ignored, trailers are checked and dropped.
    Parsed<Step> next(std::string_view bytes);
    bool done() const { return state_ == State::done; }
    // What the current chunk has announced and not yet brought.
    std::uint64_t left() const { return left_; }

private:
    enum class State { size, extension, size_end, data, data_cr, data_lf, trailer, done };
    enum class Extension { name_start, name, value_start, value, quoted, escaped, quoted_end };
    Parsed<void> take_framing_byte(char c);
    Parsed<void> take_size_byte(char c);
    Parsed<void> take_extension_byte(char c);
    Parsed<void> take_trailer_byte(char c);

    State state_ = State::size;
    Extension extension_ = Extension::name_start;
    int digits_ = 0;
    std::uint64_t left_ = 0;           // of the current chunk
    std::size_t extension_bytes_ = 0;  // of the whole message
    std::size_t trailer_bytes_ = 0;
    std::string trailer_line_;
};

}  // namespace holdfast::http
