#include "service/gateway/allowance.h"

#include <algorithm>
#include <charconv>

namespace holdfast::gateway {

namespace {

constexpr std::string_view timeout_header = "x-holdfast-timeout-ms";

// The client may ask for a shorter time than the gateway allows, never for a longer one.
base::Result<std::chrono::milliseconds> total_time(const http::Headers& headers,
                                                   std::chrono::milliseconds limit) {
    const auto asked = headers.find(timeout_header);
    if (!asked) return limit;
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(asked->data(), asked->data() + asked->size(), value);
    if (error != std::errc() || end != asked->data() + asked->size() || value < 1)
        return base::fail_field(timeout_header,
                                "The header {} must be a whole number of "
                                "milliseconds above 0.",
                                timeout_header);
    return std::min(limit, std::chrono::milliseconds(std::min<std::int64_t>(value, limit.count())));
}

}  // namespace

std::chrono::milliseconds Allowance::progress_every() const {
    return std::clamp(std::min(timeouts.first_token, timeouts.token_gap) / 4,
                      std::chrono::milliseconds(10),
                      std::max(pings.every, std::chrono::milliseconds(10)));
}

base::Result<Allowance> settle_allowance(const Options& options, const http::Headers& headers,
                                         base::Instant arrived) {
    HF_TRY_ASSIGN(const auto total, total_time(headers, options.timeouts.total));
    Allowance allowance{options.timeouts, options.pings, options.fruitless_attempts_max, {}};
    allowance.deadline = base::Deadline(arrived + total);
    return allowance;
}

}  // namespace holdfast::gateway
