// Character classes of RFC 9110 and small text helpers shared by parser, server and client.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace holdfast::http {

namespace detail {
inline constexpr std::uint8_t token_class = 1;
inline constexpr std::uint8_t value_class = 2;
inline constexpr std::uint8_t target_class = 4;

constexpr std::array<std::uint8_t, 256> make_classes() {
    std::array<std::uint8_t, 256> classes{};
    for (int byte = 0; byte < 256; ++byte) {
        const bool digit = byte >= '0' && byte <= '9';
        const bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        const bool mark = byte < 128 && byte != 0 &&
                          std::string_view("!#$%&'*+-.^_`|~").contains(static_cast<char>(byte));
        if (digit || letter || mark) classes[byte] |= token_class;
        if (byte == '\t' || (byte >= 0x20 && byte != 0x7f)) classes[byte] |= value_class;
        if (byte > 0x20 && byte < 0x7f && byte != '#') classes[byte] |= target_class;
    }
    return classes;
}
inline constexpr auto classes = make_classes();

constexpr bool all_of(std::string_view text, std::uint8_t wanted) {
    std::uint8_t seen = wanted;
    for (const char c : text) seen &= classes[static_cast<unsigned char>(c)];
    return seen == wanted;
}
}  // namespace detail

// RFC 9110, section 5.6.2: token.
constexpr bool is_token(std::string_view text) {
    return !text.empty() && detail::all_of(text, detail::token_class);
}
// RFC 9110, section 5.5: field-value, that is no control character but the tab.
constexpr bool is_field_value(std::string_view text) {
    return detail::all_of(text, detail::value_class);
}
// What may stand in a request target: visible ASCII without the fragment's '#'.
constexpr bool is_target(std::string_view text) {
    return !text.empty() && detail::all_of(text, detail::target_class);
}

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

constexpr bool equal_without_case(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (lower(a[i]) != lower(b[i])) return false;
    }
    return true;
}

// Without the spaces and tabs at both ends (RFC 9110: OWS).
constexpr std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

// The value of a hexadecimal digit, or -1.
constexpr int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (lower(c) >= 'a' && lower(c) <= 'f') return lower(c) - 'a' + 10;
    return -1;
}

}  // namespace holdfast::http
