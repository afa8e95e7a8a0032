#include "common/http/parser.h"

#include <charconv>
#include <optional>

#include "common/http/characters.h"

namespace holdfast::http {
namespace {

std::unexpected<Refusal> refuse(int status, std::string_view reason) {
    return std::unexpected(Refusal{status, reason});
}

// What the framing and connection fields of one message say.
struct Fields {
    Headers headers;
    std::optional<std::uint64_t> length;
    std::size_t transfer_encodings = 0;
    std::string_view transfer_encoding;
    std::size_t hosts = 0;
    std::string_view expect;
    bool close = false;
    bool keep_alive = false;
};

// RFC 9112, section 6.2, and stricter: digits only, no leading zero, exactly one field with one
// value. Everything else has been read as two different numbers by two servers before.
Parsed<std::uint64_t> parse_length(std::string_view text) {
    std::uint64_t length = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, length);
    if (text.empty() || error != std::errc() || stop != end) {
        return refuse(400, "Content-Length is not a number");
    }
    if (text.size() > 1 && text.front() == '0') {
        return refuse(400, "Content-Length has a leading zero");
    }
    return length;
}

void take_connection_options(std::string_view list, Fields& fields) {
    while (!list.empty()) {
        const std::size_t comma = list.find(',');
        const std::string_view option = trim(list.substr(0, comma));
        if (equal_without_case(option, "close")) fields.close = true;
        if (equal_without_case(option, "keep-alive")) fields.keep_alive = true;
        if (comma == std::string_view::npos) break;
        list.remove_prefix(comma + 1);
    }
}

// The fields that decide how the message is read. The length of the name is a cheap first test.
Parsed<void> take_known_field(std::string_view name, std::string_view value, Fields& fields) {
    switch (name.size()) {
        case 4:
            if (equal_without_case(name, "host")) ++fields.hosts;
            break;
        case 6:
            if (equal_without_case(name, "expect")) fields.expect = value;
            break;
        case 10:
            if (equal_without_case(name, "connection")) take_connection_options(value, fields);
            break;
        case 14:
            if (equal_without_case(name, "content-length")) {
                if (fields.length) return refuse(400, "more than one Content-Length");
                auto length = parse_length(value);
                if (!length) return std::unexpected(length.error());
                fields.length = *length;
            }
            break;
        case 17:
            if (equal_without_case(name, "transfer-encoding")) {
                ++fields.transfer_encodings;
                fields.transfer_encoding = value;
            }
            break;
        default:
            break;
    }
    return {};
}

// One field line without its line end (RFC 9112, section 5). No white space before the colon, no
// folded lines.
Parsed<void> take_field_line(std::string_view line, Fields& fields) {
    if (line.front() == ' ' || line.front() == '\t') return refuse(400, "folded header line");
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return refuse(400, "header line without a colon");
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = trim(line.substr(colon + 1));
    if (!is_token(name)) return refuse(400, "invalid character in a header name");
    if (!is_field_value(value)) return refuse(400, "invalid character in a header value");
    // Some gateways and languages map '_' and '-' to one another: x_api_key would pose as
    // x-api-key. A name with '_' is dropped, as nginx does.
    if (name.contains('_')) return {};
    if (auto known = take_known_field(name, value, fields); !known) return known;
    fields.headers.add(name, value);
    return {};
}

// The line at the front of `head` without its CRLF, which is taken off too.
std::string_view take_line(std::string_view& head) {
    const std::size_t end = head.find('\n');
    const std::string_view line = head.substr(0, end - 1);
    head.remove_prefix(end + 1);
    return line;
}

// All field lines up to the empty line.
Parsed<Fields> parse_fields(std::string_view head) {
    Fields fields;  // what most messages have at most
    for (std::string_view line = take_line(head); !line.empty(); line = take_line(head)) {
        if (auto taken = take_field_line(line, fields); !taken) {
            return std::unexpected(taken.error());
        }
    }
    return fields;
}

// RFC 9112, section 2.3. Gives the minor version; anything above 1 is read as 1.
Parsed<int> parse_version(std::string_view text) {
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    if (text.size() != 8 || !text.starts_with("HTTP/") || !digit(text[5]) || text[6] != '.' ||
        !digit(text[7])) {
        return refuse(400, "invalid protocol version");
    }
    if (text[5] != '1') return refuse(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    return text[7] == '0' ? 0 : 1;
}

Parsed<void> check_method(std::string_view method) {
    if (!is_token(method)) return refuse(400, "invalid method");
    for (const std::string_view known :
         {"GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"}) {
        if (method == known) return {};
    }
    if (method == "CONNECT" || method == "TRACE") return refuse(405, "method not allowed");
    return refuse(501, "unknown method");
}

// RFC 3986, section 2.1. Control characters are refused even when encoded: they have no place in
// a path, and a decoded CR, LF or NUL is an attack on whatever comes after us. So are the dot
// segments, which no client sends without intent.
Parsed<std::string> decode_path(std::string_view text) {
    std::string path;
    path.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            path.push_back(text[i]);
            continue;
        }
        const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
        const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0) return refuse(400, "invalid percent-encoding in the path");
        const int byte = high * 16 + low;
        if (byte < 0x20 || byte == 0x7f) return refuse(400, "control character in the path");
        path.push_back(static_cast<char>(byte));
        i += 2;
    }
    for (std::size_t at = path.find("/."); at != std::string::npos; at = path.find("/.", at + 1)) {
        const std::string_view segment = std::string_view(path).substr(at + 1);
        const std::string_view name = segment.substr(0, segment.find('/'));
        if (name == "." || name == "..") return refuse(400, "dot segment in the path");
    }
    return path;
}

bool is_authority(std::string_view text) {
    for (const char c : text) {
        if (std::string_view("/?@\\ \t\"<>^`{|},").contains(c)) return false;
        if (static_cast<unsigned char>(c) >= 0x80) return false;
    }
    return true;
}

// RFC 9112, section 3.2: origin-form, absolute-form, and asterisk-form for OPTIONS. An absolute
// target's authority replaces Host (section 3.2.2).
Parsed<void> parse_target(std::string_view target, Request& request, std::string_view& authority) {
    if (!is_target(target)) return refuse(400, "invalid character in the request target");
    if (target == "*" && request.method == "OPTIONS") {
        request.path = "*";
        return {};
    }
    if (target.size() > 7 && equal_without_case(target.substr(0, 7), "http://")) {
        target.remove_prefix(7);
        const std::size_t end = std::min(target.find_first_of("/?"), target.size());
        authority = target.substr(0, end);
        target.remove_prefix(end);
        if (authority.empty() || !is_authority(authority)) {
            return refuse(400, "invalid authority in the request target");
        }
    } else if (!target.starts_with('/')) {
        return refuse(400, "the request target must start with '/'");
    }
    const std::size_t question = target.find('?');
    if (question != std::string_view::npos) request.query = target.substr(question + 1);
    auto path = decode_path(target.substr(0, question));
    if (!path) return std::unexpected(path.error());
    request.path = path->empty() ? "/" : *std::move(path);
    return {};
}

// RFC 9112, section 6.3, for requests. Only the one encoding `chunked` is accepted.
Parsed<void> frame_request(const Fields& fields, RequestHead& head) {
    if (fields.transfer_encodings > 0) {
        if (!head.http_11) return refuse(400, "Transfer-Encoding in HTTP/1.0");
        if (fields.length) return refuse(400, "Content-Length and Transfer-Encoding together");
        if (fields.transfer_encodings > 1) return refuse(400, "more than one Transfer-Encoding");
        if (!equal_without_case(fields.transfer_encoding, "chunked")) {
            return refuse(501, "only the transfer encoding 'chunked' is known");
        }
        head.framing = Framing::chunked;
    } else if (fields.length && *fields.length > 0) {
        head.framing = Framing::length;
        head.length = *fields.length;
    }
    return {};
}

Parsed<void> check_request_fields(const Fields& fields, std::string_view authority,
                                  RequestHead& head) {
    Headers& headers = head.request.headers;
    if (fields.hosts > 1) return refuse(400, "more than one Host");
    if (fields.hosts == 0 && head.http_11) return refuse(400, "Host is missing");
    if (!is_authority(headers.find("host").value_or(""))) return refuse(400, "invalid Host");
    if (!authority.empty()) headers.set("Host", authority);
    if (!fields.expect.empty() && head.http_11) {
        if (!equal_without_case(fields.expect, "100-continue")) {
            return refuse(417, "only the expectation '100-continue' is known");
        }
        head.expects_continue = head.framing != Framing::none;
    }
    const auto encoding = headers.find("content-encoding");
    if (encoding && head.framing != Framing::none && !equal_without_case(*encoding, "identity")) {
        return refuse(415, "encoded request bodies are not accepted");
    }
    return {};
}

}  // namespace

Parsed<std::size_t> HeadScanner::scan(std::string_view bytes) {
    while (true) {
        const std::size_t end = bytes.find('\n', searched_);
        if (end == std::string_view::npos || end >= limits_.bytes_max) {
            searched_ = bytes.size();
            if (bytes.size() > limits_.bytes_max) return refuse(431, "the header is too large");
            return 0;
        }
        if (end == line_start_ || bytes[end - 1] != '\r') {
            return refuse(400, "a line ends without a carriage return");
        }
        const bool empty = end == line_start_ + 1;
        line_start_ = searched_ = end + 1;
        if (empty) return line_start_;
        if (lines_++ > limits_.fields_max) return refuse(431, "too many header fields");
    }
}

Parsed<RequestHead> parse_request_head(std::string_view head) {
    RequestHead result;
    const std::string_view line = take_line(head);
    const std::size_t first = line.find(' ');
    const std::size_t last = line.rfind(' ');
    if (first == std::string_view::npos || first == last) {
        return refuse(400, "invalid request line");
    }
    auto minor = parse_version(line.substr(last + 1));
    if (!minor) return std::unexpected(minor.error());
    result.http_11 = *minor == 1;
    result.request.method = line.substr(0, first);
    if (auto method = check_method(result.request.method); !method) {
        return std::unexpected(method.error());
    }
    std::string_view authority;
    auto target = parse_target(line.substr(first + 1, last - first - 1), result.request, authority);
    if (!target) return std::unexpected(target.error());

    auto fields = parse_fields(head);
    if (!fields) return std::unexpected(fields.error());
    if (auto framed = frame_request(*fields, result); !framed) {
        return std::unexpected(framed.error());
    }
    result.keep_alive = result.http_11 ? !fields->close : fields->keep_alive && !fields->close;
    result.request.headers = std::move(fields->headers);
    if (auto sound = check_request_fields(*fields, authority, result); !sound) {
        return std::unexpected(sound.error());
    }
    return result;
}

Parsed<ResponseHead> parse_response_head(std::string_view head, std::string_view method) {
    ResponseHead result;
    const std::string_view line = take_line(head);
    auto minor = parse_version(line.substr(0, 8));
    if (!minor) return std::unexpected(minor.error());
    const bool has_reason = line.size() > 12;
    if (line.size() < 12 || line[8] != ' ' || (has_reason && line[12] != ' ')) {
        return refuse(400, "invalid status line");
    }
    const std::string_view digits = line.substr(9, 3);
    const auto [stop, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), result.status);
    if (error != std::errc() || stop != digits.data() + 3 || result.status < 100 ||
        !is_field_value(line.substr(12))) {
        return refuse(400, "invalid status line");
    }
    auto fields = parse_fields(head);
    if (!fields) return std::unexpected(fields.error());
    result.keep_alive = *minor == 1 ? !fields->close : fields->keep_alive && !fields->close;
    const bool bodiless =
        method == "HEAD" || result.status < 200 || result.status == 204 || result.status == 304;
    if (fields->transfer_encodings > 0) {
        if (fields->length) return refuse(400, "Content-Length and Transfer-Encoding together");
        if (*minor == 0 || fields->transfer_encodings > 1 ||
            !equal_without_case(fields->transfer_encoding, "chunked")) {
            return refuse(400, "unknown Transfer-Encoding");
        }
        result.framing = Framing::chunked;
    } else if (fields->length) {
        result.framing = *fields->length > 0 ? Framing::length : Framing::none;
        result.length = *fields->length;
    } else {
        result.framing = Framing::until_close;
    }
    if (bodiless) result.framing = Framing::none;
    if (result.framing == Framing::until_close) result.keep_alive = false;
    result.headers = std::move(fields->headers);
    return result;
}

}  // namespace holdfast::http
