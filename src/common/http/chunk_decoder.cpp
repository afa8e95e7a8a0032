#include <algorithm>

#include "common/http/characters.h"
#include "common/http/parser.h"

namespace holdfast::http {
namespace {

constexpr int size_digits_max = 16;
constexpr std::size_t extension_bytes_max = 4096;
constexpr std::size_t trailer_bytes_max = 8192;

std::unexpected<Refusal> refuse(int status, std::string_view reason) {
    return std::unexpected(Refusal{status, reason});
}

}  // namespace

Parsed<ChunkDecoder::Step> ChunkDecoder::next(std::string_view bytes) {
    std::size_t at = 0;
    while (at < bytes.size() && state_ != State::done) {
        if (state_ == State::data) {
            const std::size_t size = std::min<std::uint64_t>(left_, bytes.size() - at);
            left_ -= size;
            if (left_ == 0) state_ = State::data_cr;
            return Step{.consumed = at + size, .data = bytes.substr(at, size)};
        }
        if (auto taken = take_framing_byte(bytes[at]); !taken) {
            return std::unexpected(taken.error());
        }
        ++at;
    }
    return Step{.consumed = at, .data = {}};
}

Parsed<void> ChunkDecoder::take_framing_byte(char c) {
    switch (state_) {
        case State::size:
            return take_size_byte(c);
        case State::extension:
            return take_extension_byte(c);
        case State::trailer:
            return take_trailer_byte(c);
        case State::size_end:
            if (c != '\n') return refuse(400, "a chunk size line does not end with CRLF");
            state_ = left_ > 0 ? State::data : State::trailer;
            digits_ = 0;
            return {};
        case State::data_cr:
            if (c != '\r') return refuse(400, "a chunk is longer than its size");
            state_ = State::data_lf;
            return {};
        case State::data_lf:
            if (c != '\n') return refuse(400, "a chunk does not end with CRLF");
            state_ = State::size;
            return {};
        case State::data:
        case State::done:
            break;
    }
    std::unreachable();
}

Parsed<void> ChunkDecoder::take_size_byte(char c) {
    if (const int digit = hex_digit(c); digit >= 0) {
        if (++digits_ > size_digits_max) return refuse(400, "a chunk size has too many digits");
        left_ = left_ * 16 + digit;
        return {};
    }
    if (digits_ == 0) return refuse(400, "a chunk size is missing");
    if (c == '\r') {
        state_ = State::size_end;
    } else if (c == ';') {
        state_ = State::extension;
        extension_ = Extension::name_start;
    } else {
        return refuse(400, "invalid character in a chunk size");
    }
    return {};
}

// RFC 9112, section 7.1.1, without its "bad white space".
Parsed<void> ChunkDecoder::take_extension_byte(char c) {
    if (++extension_bytes_ > extension_bytes_max) return refuse(400, "chunk extensions too large");
    const bool token = is_token(std::string_view(&c, 1));
    switch (extension_) {
        case Extension::name_start:
        case Extension::value_start:
            if (extension_ == Extension::value_start && c == '"') {
                extension_ = Extension::quoted;
                return {};
            }
            if (!token) break;
            extension_ = extension_ == Extension::name_start ? Extension::name : Extension::value;
            return {};
        case Extension::quoted:
            if (c == '\\') extension_ = Extension::escaped;
            if (c == '"') extension_ = Extension::quoted_end;
            if (!is_field_value(std::string_view(&c, 1))) break;
            return {};
        case Extension::escaped:
            if (!is_field_value(std::string_view(&c, 1))) break;
            extension_ = Extension::quoted;
            return {};
        case Extension::name:
            if (c == '=') {
                extension_ = Extension::value_start;
                return {};
            }
            [[fallthrough]];
        case Extension::value:
            if (token) return {};
            [[fallthrough]];
        case Extension::quoted_end:
            if (c == ';') {
                extension_ = Extension::name_start;
                return {};
            }
            if (c == '\r') {
                state_ = State::size_end;
                return {};
            }
            break;
    }
    return refuse(400, "invalid chunk extension");
}

// RFC 9112, section 7.1.2. Trailers carry nothing for us, but they must be well formed.
Parsed<void> ChunkDecoder::take_trailer_byte(char c) {
    if (++trailer_bytes_ > trailer_bytes_max) return refuse(431, "the trailer is too large");
    if (c != '\n') {
        trailer_line_.push_back(c);
        return {};
    }
    if (!trailer_line_.ends_with('\r')) return refuse(400, "a trailer line ends without CR");
    trailer_line_.pop_back();
    if (trailer_line_.empty()) {
        state_ = State::done;
        return {};
    }
    const std::size_t colon = trailer_line_.find(':');
    const std::string_view line = trailer_line_;
    if (colon == std::string::npos || !is_token(line.substr(0, colon)) ||
        !is_field_value(line.substr(colon + 1))) {
        return refuse(400, "invalid trailer");
    }
    trailer_line_.clear();
    return {};
}

}  // namespace holdfast::http
