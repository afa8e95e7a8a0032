// What a worker counts.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "common/telemetry/metrics.h"
#include "inference/engine/engine.h"

namespace holdfast::worker {

class Metrics {
public:
    Metrics(telemetry::Registry& registry, std::string model);

    // One finished exchange. `finish` is a finish reason, "error" or "cancelled".
    void count_request(std::string_view endpoint, int status, std::string_view finish);
    // Shows the engine's own figures.
    void mirror(const engine::Stats& stats);

    telemetry::Histogram& first_token;
    telemetry::Histogram& token_gap;
    telemetry::Histogram& duration;
    telemetry::Counter& reasoning_tokens;

private:
    telemetry::Registry& registry_;
    std::string model_;
    telemetry::Gauge &running_, &waiting_, &kv_usage_;
    telemetry::Gauge &prompt_tokens_, &generation_tokens_, &cached_tokens_;
    telemetry::Gauge &steps_, &proposed_tokens_, &accepted_tokens_, &preemptions_, &cancelled_;
};

}  // namespace holdfast::worker
