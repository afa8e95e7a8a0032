#include "common/http/request_rules.h"

#include <algorithm>
#include <string_view>

#include "common/http/characters.h"

namespace holdfast::http {

namespace {

constexpr std::size_t request_id_bytes_max = 128;

bool is_id_character(char c) {
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') || c == '-' || c == '_' ||
           c == '.' || c == ':';
}

std::unexpected<base::Error> unsupported(std::string what) {
    return std::unexpected(base::Error{base::Code::invalid, std::move(what), base::Origin::client,
                                       base::Retry::no, "", "unsupported_media_type"});
}

}  // namespace

std::string request_id(const Headers& headers, base::Entropy& entropy) {
    const std::string_view given = headers.find("x-request-id").value_or("");
    if (!given.empty() && given.size() <= request_id_bytes_max &&
        std::ranges::all_of(given, is_id_character))
        return std::string(given);
    return "req-" + base::random_hex(entropy, 12);
}

base::Result<> check_json_body(const Headers& headers) {
    const auto type = headers.find("content-type");
    if (type && !equal_without_case(trim(type->substr(0, type->find(';'))), "application/json"))
        return unsupported("The Content-Type must be application/json.");
    const auto encoding = headers.find("content-encoding");
    if (encoding && !equal_without_case(trim(*encoding), "identity"))
        return unsupported("A Content-Encoding is not supported.");
    return {};
}

}  // namespace holdfast::http
