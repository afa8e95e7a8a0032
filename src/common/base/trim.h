#pragma once

#include <string_view>

namespace holdfast::base {

// Without the white space around it: files with one secret end with a line break, and so do the
// variables and arguments that are filled from them.
inline std::string_view trimmed(std::string_view text) {
    constexpr std::string_view space = " \t\r\n";
    const auto first = text.find_first_not_of(space);
    if (first == text.npos) return {};
    return text.substr(first, text.find_last_not_of(space) - first + 1);
}

}  // namespace holdfast::base
