#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/error.h"

namespace holdfast::http {

// Where to connect: "http://host:port" parsed and checked.
struct Url {
    std::string host;
    std::uint16_t port = 80;
    std::string path;  // prefix before every request's path, without trailing '/'
    std::string text() const;
    static base::Result<Url> parse(std::string_view text);
    // The address of a service as people and their tools write it: "http://host:port/v1" and whole
    // endpoints such as "http://host:port/v1/chat/completions" lead to the same as
    // "http://host:port", and white space around it is none of it.
    static base::Result<Url> parse_service(std::string_view text);
    friend bool operator==(const Url&, const Url&) = default;
};

}  // namespace holdfast::http
