#include "common/http/url.h"

#include <fmt/format.h>

#include <charconv>

#include "common/base/trim.h"
#include "common/http/characters.h"

namespace holdfast::http {
namespace {

// Host names, IPv4 literals, and what may stand in the brackets of an IPv6 literal.
bool is_host(std::string_view host) {
    if (host.empty()) return false;
    for (const char c : host) {
        const char small = lower(c);
        const bool known = (small >= 'a' && small <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                           c == '.' || c == '_' || c == ':';
        if (!known) return false;
    }
    return true;
}

}  // namespace

std::string Url::text() const {
    const bool ipv6 = host.contains(':');
    return ipv6 ? fmt::format("http://[{}]:{}{}", host, port, path)
                : fmt::format("http://{}:{}{}", host, port, path);
}

base::Result<Url> Url::parse(std::string_view text) {
    using base::Code;
    const std::size_t scheme_end = text.find("://");
    if (scheme_end == std::string_view::npos) {
        const bool is_bare = !text.empty() && parse(fmt::format("http://{}", text)).has_value();
        return base::fail(Code::invalid, "address '{}' does not start with http://{}", text,
                          is_bare ? fmt::format("; did you mean http://{}?", text) : "");
    }
    const std::string_view scheme = text.substr(0, scheme_end);
    if (equal_without_case(scheme, "https")) {
        return base::fail(Code::invalid, "address '{}': https is not supported yet", text);
    }
    if (!equal_without_case(scheme, "http")) {
        return base::fail(Code::invalid, "address '{}' does not start with http://", text);
    }
    std::string_view rest = text.substr(scheme_end + 3);
    if (!is_target(rest) || rest.contains('?')) {
        return base::fail(Code::invalid,
                          "address '{}' has a query, a fragment or an invalid character", text);
    }
    const std::size_t path_start = std::min(rest.find('/'), rest.size());
    std::string_view authority = rest.substr(0, path_start);
    Url url;
    url.path = rest.substr(path_start);
    while (url.path.ends_with('/')) url.path.pop_back();
    if (authority.contains('@')) {
        return base::fail(Code::invalid, "an address must not hold a user name or password");
    }
    std::string_view port;
    if (authority.starts_with('[')) {
        const std::size_t close = authority.find(']');
        if (close == std::string_view::npos) {
            return base::fail(Code::invalid, "address '{}': ']' is missing", text);
        }
        url.host = authority.substr(1, close - 1);
        port = authority.substr(close + 1);
        if (!url.host.contains(':')) {
            return base::fail(Code::invalid, "address '{}': invalid IPv6 address", text);
        }
    } else {
        const std::size_t colon = std::min(authority.find(':'), authority.size());
        url.host = authority.substr(0, colon);
        port = authority.substr(colon);
    }
    for (char& c : url.host) c = lower(c);
    if (!is_host(url.host)) return base::fail(Code::invalid, "address '{}': invalid host", text);
    if (port.empty()) return url;
    port.remove_prefix(1);
    const char* end = port.data() + port.size();
    const auto [stop, error] = std::from_chars(port.data(), end, url.port);
    if (port.empty() || error != std::errc() || stop != end || url.port == 0) {
        return base::fail(Code::invalid, "address '{}': invalid port", text);
    }
    return url;
}

base::Result<Url> Url::parse_service(std::string_view text) {
    HF_TRY_ASSIGN(Url url, parse(base::trimmed(text)));
    // Longer ones first, and the version behind them.
    for (const std::string_view tail : {"/chat/completions", "/completions", "/models", "/v1"})
        if (url.path.ends_with(tail)) url.path.resize(url.path.size() - tail.size());
    return url;
}

}  // namespace holdfast::http
