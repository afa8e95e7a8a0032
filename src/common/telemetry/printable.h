// Text from outside, made harmless for a log line or a metrics page.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace holdfast::telemetry {

// Each invalid UTF-8 byte becomes U+FFFD; cut between characters at `bytes_max`.
std::string valid_utf8(std::string_view text, std::size_t bytes_max);

// Appends `text` with control characters and invalid bytes as \n, \t, \r or \xNN, until `out` would
// grow past `bytes_max`; a cut text ends in "...".
void append_printable(std::string& out, std::string_view text, std::size_t bytes_max);

}  // namespace holdfast::telemetry
