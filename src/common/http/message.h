// HTTP messages as plain values. Header names compare without case.
#pragma once

#include <boost/container/small_vector.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace holdfast::http {

// Names and values lie one after the other in one string, so that a handful of fields costs one
// allocation.
class Headers {
public:
    using Field = std::pair<std::string_view, std::string_view>;
    class Iterator;

    // The first field of that name, or nothing.
    std::optional<std::string_view> find(std::string_view name) const;
    // The number of fields of that name.
    std::size_t count(std::string_view name) const;
    // What `find` and the iterators gave out does not hold any longer.
    void add(std::string_view name, std::string_view value);
    void set(std::string_view name, std::string_view value);  // replaces all of that name

    Iterator begin() const;
    Iterator end() const;
    std::size_t size() const { return ends_.size(); }

private:
    struct Ends {
        std::uint32_t name, value;
    };
    Field field(std::size_t index) const;

    std::string bytes_;
    boost::container::small_vector<Ends, 8> ends_;  // in bytes_
};

class Headers::Iterator {
public:
    using difference_type = std::ptrdiff_t;
    using value_type = Field;

    Iterator() = default;
    Iterator(const Headers& headers, std::size_t index) : headers_(&headers), index_(index) {}
    Field operator*() const { return headers_->field(index_); }
    Iterator& operator++() {
        ++index_;
        return *this;
    }
    Iterator operator++(int) { return {*headers_, index_++}; }
    friend bool operator==(const Iterator&, const Iterator&) = default;

private:
    const Headers* headers_ = nullptr;
    std::size_t index_ = 0;
};

inline Headers::Iterator Headers::begin() const { return {*this, 0}; }
inline Headers::Iterator Headers::end() const { return {*this, size()}; }

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
