#include "inference/worker/metrics.h"

namespace holdfast::worker {

Metrics::Metrics(telemetry::Registry& registry, std::string model)
    : first_token(registry.histogram("holdfast_time_to_first_token_seconds",
                                     "From a request's arrival to its first token.",
                                     telemetry::first_token_bounds(), {{"model", model}})),
      token_gap(registry.histogram("holdfast_inter_token_latency_seconds",
                                   "Between the tokens of one choice.",
                                   telemetry::token_gap_bounds(), {{"model", model}})),
      duration(registry.histogram("holdfast_request_duration_seconds",
                                  "From a request's arrival to the end of its answer.",
                                  telemetry::request_bounds(), {{"model", model}})),
      reasoning_tokens(registry.counter("holdfast_reasoning_tokens_total",
                                        "Generated tokens that were thinking.",
                                        {{"model", model}})),
      registry_(registry),
      model_(std::move(model)),
      running_(registry.gauge("holdfast_requests_running", "Choices that are being generated.",
                              {{"model", model_}})),
      waiting_(registry.gauge("holdfast_requests_waiting",
                              "Choices that were admitted and wait to run.", {{"model", model_}})),
      kv_usage_(registry.gauge("holdfast_kv_cache_usage_ratio",
                               "Share of the KV blocks that live choices use.",
                               {{"model", model_}})),
      prompt_tokens_(registry.mirrored_counter("holdfast_prompt_tokens_total", "Tokens of prompts.",
                                               {{"model", model_}})),
      generation_tokens_(registry.mirrored_counter("holdfast_generation_tokens_total",
                                                   "Generated tokens.", {{"model", model_}})),
      cached_tokens_(registry.mirrored_counter("holdfast_cached_tokens_total",
                                               "Tokens of prompts read from the prefix cache.",
                                               {{"model", model_}})),
      steps_(registry.mirrored_counter("holdfast_engine_steps_total", "Steps of the engine.",
                                       {{"model", model_}})),
      proposed_tokens_(registry.mirrored_counter("holdfast_speculation_proposed_tokens_total",
                                                 "Tokens that speculation guessed ahead.",
                                                 {{"model", model_}})),
      accepted_tokens_(registry.mirrored_counter("holdfast_speculation_accepted_tokens_total",
                                                 "Of these, tokens that were right.",
                                                 {{"model", model_}})),
      preemptions_(registry.mirrored_counter("holdfast_preemptions_total",
                                             "Choices that lost their KV blocks to others.",
                                             {{"model", model_}})),
      cancelled_(registry.mirrored_counter("holdfast_cancelled_total",
                                           "Requests whose client left before the end.",
                                           {{"model", model_}})) {}

void Metrics::count_request(std::string_view endpoint, int status, std::string_view finish) {
    registry_
        .counter("holdfast_requests_total", "Answered requests.",
                 {{"endpoint", std::string(endpoint)},
                  {"model", model_},
                  {"code", std::to_string(status)},
                  {"finish_reason", std::string(finish)}})
        .add();
}

void Metrics::mirror(const engine::Stats& stats) {
    running_.set(stats.running);
    waiting_.set(stats.waiting);
    kv_usage_.set(stats.blocks_total == 0
                      ? 0.0
                      : static_cast<double>(stats.blocks_used) / stats.blocks_total);
    prompt_tokens_.set(static_cast<double>(stats.prompt_tokens));
    generation_tokens_.set(static_cast<double>(stats.generated_tokens));
    cached_tokens_.set(static_cast<double>(stats.cached_tokens));
    steps_.set(static_cast<double>(stats.steps));
    proposed_tokens_.set(static_cast<double>(stats.proposed_tokens));
    accepted_tokens_.set(static_cast<double>(stats.accepted_tokens));
    preemptions_.set(static_cast<double>(stats.preemptions));
    cancelled_.set(static_cast<double>(stats.cancelled));
}

}  // namespace holdfast::worker
