// UTF-8, one character at a time, with the replacement rules that Python and Rust share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast::text {

inline constexpr std::string_view replacement_character = "\xEF\xBF\xBD";  // U+FFFD

enum class Utf8 : std::uint8_t {
    valid,      // `length` bytes are the character `code_point`
    invalid,    // `length` bytes are a maximal subpart that cannot become a character
    truncated,  // all bytes are there is, and they may yet become a character
};

struct Utf8Character {
    Utf8 state = Utf8::valid;
    std::uint8_t length = 1;
    char32_t code_point = 0;
};

// The first character of `text`, which must not be empty. Surrogates, overlong forms and what is
// above U+10FFFF are invalid. A maximal subpart is defined in the Unicode Standard, section 3.9.6
// ("U+FFFD Substitution of Maximal Subparts"); bytes.decode(errors="replace") follows it too.
Utf8Character first_character(std::string_view text);

// Appends the UTF-8 form of `code_point`, which must be a Unicode scalar value.
void append_utf8(std::string& out, char32_t code_point);

}  // namespace holdfast::text
