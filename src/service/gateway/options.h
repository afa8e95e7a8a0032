#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/http/limits.h"
#include "common/telemetry/metrics.h"
#include "service/fleet/options.h"
#include "service/gateway/retry_budget.h"

namespace holdfast::gateway {

struct Timeouts {
    std::chrono::milliseconds connect{1'000};
    std::chrono::milliseconds place{60'000};    // waiting for a ready instance
    std::chrono::milliseconds resume{600'000};  // the same, once the answer has begun
    // How long an instance may be silent, before and after its first token. A worker that makes
    // progress and an external server that sends bytes are not.
    std::chrono::milliseconds first_token{120'000};
    std::chrono::milliseconds token_gap{30'000};
    std::chrono::milliseconds total{3'600'000};  // from the request's arrival
};

// What a client hears while there is nothing to say.
struct Pings {
    std::chrono::milliseconds every{10'000};
    // A stream's head waits that long for the first event once an instance has taken the request;
    // until then an error can still have its own status.
    std::chrono::milliseconds head_after{1'000};
    // A whole answer begins with white space when it takes longer; 0: never. From then on an error
    // has status 200.
    std::chrono::milliseconds whole_after{0};
};

struct Options {
    std::string listen = "127.0.0.1:8080";  // unused when a listening socket is inherited
    std::uint32_t loops = 0;                // 0: one per core
    std::string policy = "least_outstanding";
    Timeouts timeouts;
    RetryBudget::Limits retry;
    // Attempts in a row that delivered nothing new; then the exchange ends with an error.
    std::uint32_t fruitless_attempts_max = 8;
    std::uint32_t exchanges_max = 4096;     // in flight on one loop
    std::size_t journal_bytes = 32U << 20;  // per loop
    std::chrono::milliseconds drain{30'000};
    Pings pings;
    http::ServerLimits http;
    std::vector<fleet::Target> targets;
    fleet::HealthOptions health;
    std::function<void(telemetry::Registry&)>
        add_metrics;  // of what lives outside, such as the log
};

}  // namespace holdfast::gateway
