// HTTP messages as plain values. Header names compare without case.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::http {

class Headers {
public:
    using Field = std::pair<std::string, std::string>;

    // The first field of that name, or nothing.
    std::optional<std::string_view> find(std::string_view name) const;
    // The number of fields of that name.
    std::size_t count(std::string_view name) const;
    void add(std::string name, std::string value);
    void reserve(std::size_t fields) { fields_.reserve(fields); }
    void set(std::string_view name, std::string value);  // replaces all of that name

    auto begin() const { return fields_.begin(); }
    auto end() const { return fields_.end(); }
    std::size_t size() const { return fields_.size(); }

private:
    std::vector<Field> fields_;
};

// RFC 9112, section 6: how the end of a body is known.
enum class Framing : std::uint8_t { none, length, chunked, until_close };

struct Request {
    std::string method;  // "GET", "POST", ...
    std::string path;    // decoded path without query, starts with '/'
    std::string query;   // raw text after '?', empty if none
    Headers headers;
    std::string body;  // whole, already limited by the server's settings
    std::string peer;  // the client's address without port
};

struct Response {
    int status = 200;
    Headers headers;  // Content-Length, Connection and Date are the server's business
    std::string body;
};

}  // namespace holdfast::http
