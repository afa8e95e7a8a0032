#pragma once

#include <string>
#include <string_view>

namespace holdfast::upstream {

// What an instance says, fit for a log line and for memory: at most `bytes_max` bytes, whole
// characters, and blanks in place of control characters.
std::string one_line(std::string_view text, std::size_t bytes_max);

}  // namespace holdfast::upstream
