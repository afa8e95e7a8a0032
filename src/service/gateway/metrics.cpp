#include "service/gateway/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace holdfast::gateway {

namespace {
// Models beyond this share one set of series, so that no configuration grows memory without bound.
constexpr std::size_t models_max = 200;
}  // namespace

std::string_view name(Guarantee guarantee) {
    switch (guarantee) {
        case Guarantee::exact:
            return "exact";
        case Guarantee::exact_text:
            return "exact-text";
        case Guarantee::same_model:
            return "same-model";
        case Guarantee::restart:
            return "restart";
    }
    std::unreachable();
}

ModelMetrics::ModelMetrics(telemetry::Registry& registry, std::string_view name)
    : model(name),
      incoming(registry.counter("holdfast_incoming_requests_total",
                                "Requests that named this model, whatever became of them.",
                                {{"model", model}})),
      prompt_tokens(registry.counter("holdfast_prompt_tokens_total",
                                     "Prompt tokens of finished requests.", {{"model", model}})),
      generation_tokens(registry.counter("holdfast_generation_tokens_total",
                                         "Generated tokens of finished requests.",
                                         {{"model", model}})),
      reasoning_tokens(registry.counter("holdfast_reasoning_tokens_total",
                                        "Generated tokens that were thinking.",
                                        {{"model", model}})),
      first_token(registry.histogram("holdfast_time_to_first_token_seconds",
                                     "From the request's arrival to its first token.",
                                     telemetry::first_token_bounds(), {{"model", model}})),
      first_answer_token(
          registry.histogram("holdfast_time_to_first_answer_token_seconds",
                             "From the request's arrival to the first token after the thinking.",
                             telemetry::first_token_bounds(), {{"model", model}})),
      token_gap(registry.histogram("holdfast_inter_token_latency_seconds",
                                   "Time between events of one answer, failovers included.",
                                   telemetry::token_gap_bounds(), {{"model", model}})),
      duration(registry.histogram("holdfast_request_duration_seconds",
                                  "From the request's arrival to the end of its answer.",
                                  telemetry::request_bounds(), {{"model", model}})),
      queued(registry.histogram("holdfast_queue_seconds", "Waiting for an instance that is ready.",
                                telemetry::first_token_bounds(), {{"model", model}})),
      running(registry.gauge("holdfast_requests_running", "Requests being answered.",
                             {{"model", model}})) {}

ModelMetrics& Metrics::of(std::string_view model) {
    const std::scoped_lock lock(mutex_);
    const auto found = std::ranges::find(models_, model, &ModelMetrics::model);
    if (found != models_.end()) return *found;
    if (models_.size() >= models_max) return models_.front();
    return models_.emplace_back(registry_, model);
}

telemetry::Counter& Metrics::requests(std::string_view endpoint, std::string_view model, int status,
                                      std::string_view finish) {
    return registry_.counter("holdfast_requests_total", "Requests answered.",
                             {{"endpoint", std::string(endpoint)},
                              {"model", std::string(model)},
                              {"code", fmt::format("{}", status)},
                              {"finish_reason", std::string(finish)}});
}

void RequestCounters::add(std::string_view endpoint, std::string_view model, int status,
                          std::string_view finish) {
    for (const Known& known : known_) {
        if (known.status == status && known.finish == finish && known.model == model &&
            known.endpoint == endpoint)
            return known.counter->add();
    }
    telemetry::Counter& counter = metrics_.requests(endpoint, model, status, finish);
    counter.add();
    if (known_.size() < known_max)
        known_.push_back(
            {std::string(endpoint), std::string(model), status, std::string(finish), &counter});
}

void Metrics::retry(std::string_view reason) {
    registry_
        .counter("holdfast_retries_total",
                 "Attempts after the first, by what ended the one before.",
                 {{"reason", std::string(reason)}})
        .add();
}

void Metrics::failover(Guarantee guarantee) {
    registry_
        .counter("holdfast_failovers_total", "Answers that went on at another instance.",
                 {{"guarantee", std::string(name(guarantee))}})
        .add();
}

}  // namespace holdfast::gateway
