#include "gateway/request_id.h"

#include <algorithm>
#include <cctype>

namespace holdfast::gateway {

namespace {

constexpr std::size_t request_id_bytes_max = 128;

bool is_id_character(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.' ||
           c == ':';
}

bool equal_without_case(std::string_view a, std::string_view b) {
    return std::ranges::equal(
        a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

std::string_view media_type(std::string_view value) {
    value = value.substr(0, value.find(';'));
    while (!value.empty() && value.back() == ' ') value.remove_suffix(1);
    return value;
}

base::Error unsupported(std::string what) {
    return {base::Code::invalid,     std::move(what), base::Origin::client, base::Retry::no, "",
            "unsupported_media_type"};
}

}  // namespace

std::string request_id(const http::Headers& headers, base::Entropy& entropy) {
    const std::string_view given = headers.find("x-request-id").value_or("");
    if (!given.empty() && given.size() <= request_id_bytes_max &&
        std::ranges::all_of(given, is_id_character))
        return std::string(given);
    return "req-" + base::random_hex(entropy, 12);
}

base::Result<> check_content_type(const http::Headers& headers) {
    const auto type = headers.find("content-type");
    if (type && !equal_without_case(media_type(*type), "application/json"))
        return std::unexpected(unsupported("The Content-Type must be application/json."));
    const auto encoding = headers.find("content-encoding");
    if (encoding && !equal_without_case(*encoding, "identity"))
        return std::unexpected(unsupported("A Content-Encoding is not supported."));
    return {};
}

}  // namespace holdfast::gateway
