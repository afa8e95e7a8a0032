// The gateway's metrics. Any thread; looked up once per exchange, updated without locks.
#pragma once

#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "common/chat/event.h"
#include "common/telemetry/metrics.h"

namespace holdfast::gateway {

// What the gateway can promise for an exchange should its instance die from here on.
enum class Guarantee {
    exact,       // goes on from the token ids, byte for byte
    exact_text,  // goes on from all that was said, at an external server, and says the same
    same_model,  // goes on at an external server with the same model, perhaps in other words
    restart,     // nothing sent yet can be continued: after the first byte an error event
};
std::string_view name(Guarantee guarantee);

// One model's series.
struct ModelMetrics {
    ModelMetrics(telemetry::Registry& registry, std::string_view model);

    std::string model;
    telemetry::Counter& incoming;
    telemetry::Counter& prompt_tokens;
    telemetry::Counter& generation_tokens;
    telemetry::Counter& reasoning_tokens;
    telemetry::Histogram& first_token;
    telemetry::Histogram& first_answer_token;
    telemetry::Histogram& token_gap;
    telemetry::Histogram& duration;
    telemetry::Histogram& queued;
    telemetry::Gauge& running;
};

class Metrics {
public:
    explicit Metrics(telemetry::Registry& registry) : registry_(registry) {}

    ModelMetrics& of(std::string_view model);
    // The counter of finished requests with these labels.
    telemetry::Counter& requests(std::string_view endpoint, std::string_view model, int status,
                                 std::string_view finish);
    void retry(std::string_view reason);
    void failover(Guarantee guarantee);

private:
    telemetry::Registry& registry_;
    std::mutex mutex_;
    std::deque<ModelMetrics> models_;
};

// One loop's memory of which counter has which labels, so that a finished request is counted
// without the registry's lock and look-up. Loop thread only.
class RequestCounters {
public:
    explicit RequestCounters(Metrics& metrics) : metrics_(metrics) {}
    void add(std::string_view endpoint, std::string_view model, int status,
             std::string_view finish);

private:
    static constexpr std::size_t known_max = 32;
    struct Known {
        std::string endpoint, model;
        int status;
        std::string finish;
        telemetry::Counter* counter;
    };
    Metrics& metrics_;
    std::vector<Known> known_;  // at most known_max; what comes later is looked up each time
};

}  // namespace holdfast::gateway
