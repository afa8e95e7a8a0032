#include "inference/worker/call.h"

#include <algorithm>
#include <charconv>

namespace holdfast::worker {
namespace {

std::optional<std::uint64_t> read_number(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

}  // namespace

base::Result<base::Deadline> read_deadline(const http::Headers& headers, base::Instant now) {
    constexpr std::string_view name = "x-holdfast-deadline-ms";
    const auto text = headers.find(name);
    if (!text) return base::Deadline::never();
    const auto left_ms = read_number(*text);
    constexpr std::uint64_t left_ms_max = 1000ULL * 86'400 * 366;
    if (!left_ms || *left_ms > left_ms_max) {
        return base::fail_field(name, "{} must be a number of milliseconds up to {}.", name,
                                left_ms_max);
    }
    if (*left_ms == 0) {
        return std::unexpected(base::Error{base::Code::deadline,
                                           "The request's deadline has passed.",
                                           base::Origin::client,
                                           base::Retry::no,
                                           {},
                                           "deadline_exceeded"});
    }
    return base::Deadline(now + std::chrono::milliseconds(*left_ms));
}

std::uint32_t read_attempt(const http::Headers& headers) {
    const auto text = headers.find("x-holdfast-attempt");
    const auto number = text ? read_number(*text) : std::nullopt;
    return number && *number <= 1000 ? static_cast<std::uint32_t>(*number) : 0;
}

base::Duration read_ping_every(const http::Headers& headers, base::Duration usual) {
    constexpr std::uint64_t at_least = 10, at_most = 1'000'000;
    const auto text = headers.find("x-holdfast-ping-ms");
    const auto number = text ? read_number(*text) : std::nullopt;
    if (!number) return usual;
    return std::min<base::Duration>(
        usual, std::chrono::milliseconds(std::clamp(*number, at_least, at_most)));
}

base::Result<> check_fingerprint(const http::Headers& headers, const std::string& own) {
    const auto wanted = headers.find("x-holdfast-fingerprint");
    if (!wanted || *wanted == own) return {};
    return std::unexpected(base::Error{base::Code::unavailable,
                                       "This worker's numerics differ from those asked for.",
                                       base::Origin::instance,
                                       base::Retry::elsewhere,
                                       {},
                                       "fingerprint_mismatch"});
}

}  // namespace holdfast::worker
