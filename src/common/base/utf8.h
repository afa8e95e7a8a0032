#pragma once

#include <cstddef>
#include <string_view>

namespace holdfast::base {

// Bytes of the character that `text` begins with, 0 if it begins with none: the well-formed byte
// sequences of the Unicode Standard, table 3-7 (no overlong forms, no surrogates).
constexpr std::size_t utf8_length(std::string_view text) {
    if (text.empty()) return 0;
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const auto continues = [&](std::size_t from, std::size_t to) {
        if (text.size() < to) return false;
        for (std::size_t i = from; i < to; ++i) {
            if ((at(i) & 0xC0) != 0x80) return false;
        }
        return true;
    };
    const unsigned char lead = at(0);
    if (lead < 0x80) return 1;
    if (lead < 0xC2 || lead > 0xF4) return 0;
    if (lead < 0xE0) return continues(1, 2) ? 2 : 0;
    if (text.size() < 2) return 0;
    if (lead < 0xF0) {
        if ((lead == 0xE0 && at(1) < 0xA0) || (lead == 0xED && at(1) > 0x9F)) return 0;
        return continues(1, 3) ? 3 : 0;
    }
    if ((lead == 0xF0 && at(1) < 0x90) || (lead == 0xF4 && at(1) > 0x8F)) return 0;
    return continues(1, 4) ? 4 : 0;
}

constexpr bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const std::size_t length = utf8_length(text);
        if (length == 0) return false;
        text.remove_prefix(length);
    }
    return true;
}

}  // namespace holdfast::base
