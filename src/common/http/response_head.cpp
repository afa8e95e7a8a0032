#include "common/http/response_head.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <array>
#include <ctime>

#include "common/http/characters.h"

namespace holdfast::http {

std::string_view reason_phrase(int status) {
    switch (status) {
        case 200:
            return "OK";
        case 201:
            return "Created";
        case 202:
            return "Accepted";
        case 204:
            return "No Content";
        case 301:
            return "Moved Permanently";
        case 302:
            return "Found";
        case 304:
            return "Not Modified";
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 408:
            return "Request Timeout";
        case 409:
            return "Conflict";
        case 411:
            return "Length Required";
        case 413:
            return "Content Too Large";
        case 415:
            return "Unsupported Media Type";
        case 417:
            return "Expectation Failed";
        case 422:
            return "Unprocessable Content";
        case 429:
            return "Too Many Requests";
        case 431:
            return "Request Header Fields Too Large";
        case 499:
            return "Client Closed Request";
        case 500:
            return "Internal Server Error";
        case 501:
            return "Not Implemented";
        case 502:
            return "Bad Gateway";
        case 503:
            return "Service Unavailable";
        case 504:
            return "Gateway Timeout";
        case 505:
            return "HTTP Version Not Supported";
        case 508:
            return "loop::Loop Detected";
        default:
            return "Unknown";
    }
}

std::string_view DateLine::text(std::int64_t unix_seconds) {
    if (unix_seconds != made_for_) {
        constexpr std::array days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        constexpr std::array months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        const std::time_t seconds = unix_seconds;
        std::tm utc{};
        ::gmtime_r(&seconds, &utc);
        // RFC 9110, section 5.6.7: IMF-fixdate, whatever the locale.
        text_ = fmt::format("Date: {}, {:02} {} {:04} {:02}:{:02}:{:02} GMT\r\n", days[utc.tm_wday],
                            utc.tm_mday, months[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour,
                            utc.tm_min, utc.tm_sec);
        made_for_ = unix_seconds;
    }
    return text_;
}

namespace {

bool is_owned_by_the_server(std::string_view name) {
    return equal_without_case(name, "content-length") ||
           equal_without_case(name, "transfer-encoding") ||
           equal_without_case(name, "connection") || equal_without_case(name, "date");
}

}  // namespace

void append_response_head(std::string& out, int status, const Headers& headers,
                          std::string_view date_line, ConnectionLine connection) {
    if (status < 100 || status > 999) status = 500;
    const std::array digits{static_cast<char>('0' + status / 100),
                            static_cast<char>('0' + status / 10 % 10),
                            static_cast<char>('0' + status % 10)};
    out.append("HTTP/1.1 ").append(digits.data(), digits.size()).push_back(' ');
    out.append(reason_phrase(status)).append("\r\n").append(date_line);
    if (connection == ConnectionLine::close) out.append("Connection: close\r\n");
    if (connection == ConnectionLine::keep_alive) out.append("Connection: keep-alive\r\n");
    for (const auto& [name, value] : headers) {
        if (is_owned_by_the_server(name)) continue;
        if (!is_token(name) || !is_field_value(value)) {
            spdlog::error("a response header was left out: it is not well formed");
            continue;
        }
        out.append(name).append(": ").append(value).append("\r\n");
    }
}

}  // namespace holdfast::http
