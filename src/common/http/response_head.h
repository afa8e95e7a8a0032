// Writes response heads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/http/message.h"

namespace holdfast::http {

// The reason phrase of a status (RFC 9110, section 15); "Unknown" for what it does not know.
std::string_view reason_phrase(int status);

// The Date field's line, made anew only when the second changes.
class DateLine {
public:
    std::string_view text(std::int64_t unix_seconds);

private:
    std::int64_t made_for_ = -1;
    std::string text_;
};

enum class ConnectionLine { none, close, keep_alive };

// Appends status line, Date, the connection's line and `headers`, without the empty line. Fields
// that the server owns (Content-Length, Transfer-Encoding, Connection, Date) are left out, and so
// is any field whose name or value is not well formed: it could be read as another response.
void append_response_head(std::string& out, int status, const Headers& headers,
                          std::string_view date_line, ConnectionLine connection);

}  // namespace holdfast::http
