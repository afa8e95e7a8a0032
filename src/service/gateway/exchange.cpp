#include "service/gateway/exchange.h"

#include <fmt/format.h>

#include <charconv>

#include "common/http/request_rules.h"
#include "common/telemetry/access.h"

namespace holdfast::gateway {

namespace {

constexpr std::string_view timeout_header = "x-holdfast-timeout-ms";

std::string retry_after(const base::Error& error) {
    return error.code == base::Code::overloaded ? "1" : "5";
}

}  // namespace

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

Exchange::Exchange(Lane& lane, const dialect::Dialect& dialect, http::Request request,
                   http::Responder& responder)
    : lane_(lane),
      dialect_(dialect),
      http_(std::move(request)),
      responder_(responder),
      arrived_(lane.clock.now()) {}

Exchange::~Exchange() {
    if (entry_) lane_.journal.close(*entry_);
}

loop::Task<void> Exchange::run() {
    identify();
    base::Result<> outcome = parse();
    if (outcome) outcome = admit();
    if (outcome) {
        begin_relay();
        outcome = co_await relay_->run();
        metrics_->running.add(-1);
    }
    if (!outcome) co_await refuse(outcome.error());
    settle(outcome);
}

void Exchange::identify() { request_id_ = http::request_id(http_.headers, lane_.entropy); }

base::Result<> Exchange::parse() {
    HF_TRY_ASSIGN(const auto total, total_time(http_.headers, lane_.options.timeouts.total));
    deadline_ = base::Deadline(arrived_ + total);
    HF_TRY(http::check_json_body(http_.headers));
    HF_TRY_ASSIGN(request_, dialect_.parse(http_.body));
    // Where the client leaves chance to us, it must be the same chance on every attempt.
    if (!request_.sampling.seed) request_.sampling.seed = lane_.entropy.next() >> 1;
    return {};
}

// A request is let in when the journal can hold it: from here on it survives its instance.
base::Result<> Exchange::admit() {
    // Only names of models that exist become labels.
    metrics_ = &lane_.metrics.of(lane_.fleet.knows(request_.model) ? request_.model : "unknown");
    metrics_->incoming.add();
    lane_.budget.deposit();
    auto entry =
        lane_.journal.open(request_id_, *request_.sampling.seed, dialect_.path, http_.body);
    if (!entry)
        return std::unexpected(base::Error{
            base::Code::overloaded, "The gateway is at its limit of requests in flight.",
            base::Origin::self, base::Retry::later, "", "overloaded"});
    entry_ = *entry;
    http_.body = {};
    return {};
}

void Exchange::begin_relay() {
    dialect::AnswerHead head{std::string(dialect_.id_prefix) + base::random_hex(lane_.entropy, 12),
                             lane_.clock.unix_seconds(), request_.model};
    metrics_->running.add(1);
    relay_.emplace(lane_, request_, dialect_, std::move(head), responder_, request_id_, *entry_,
                   arrived_, deadline_, *metrics_);
}

loop::Task<void> Exchange::refuse(const base::Error& error) {
    if (error.code == base::Code::cancelled || responder_.client_gone()) {
        status_ = 499;  // nginx's code for a client that closed its connection; for the log only
        co_return;
    }
    base::Error shown = error;
    shown.what += fmt::format(" (request id {})", request_id_);
    if (relay_ && relay_->record().head_sent) {
        (void)co_await relay_->end_with(shown);
        co_return;
    }
    dialect::ErrorAnswer answer = dialect_.render_error(shown);
    status_ = answer.status;
    http::Response response{answer.status, {}, std::move(answer.body)};
    response.headers.add("Content-Type", "application/json");
    response.headers.add("x-request-id", request_id_);
    if (answer.status == 429 || answer.status == 503)
        response.headers.add("Retry-After", retry_after(error));
    (void)co_await responder_.send(std::move(response));
}

void Exchange::settle(const base::Result<>& outcome) {
    static const RelayRecord nothing;
    const RelayRecord& record = relay_ ? relay_->record() : nothing;
    const base::Duration took = lane_.clock.now() - arrived_;
    const std::string_view finish =
        outcome ? std::string_view(record.finish) : base::name(outcome.error().code);
    lane_.counters.add(dialect_.name, metrics_ ? metrics_->model : "", status_, finish);
    if (metrics_ && record.attempts > 0) {
        metrics_->duration.observe(std::chrono::duration<double>(took).count());
        metrics_->queued.observe(std::chrono::duration<double>(record.queued).count());
    }
    if (metrics_ && record.usage) {
        metrics_->prompt_tokens.add(record.usage->prompt_tokens);
        metrics_->generation_tokens.add(record.usage->completion_tokens);
        metrics_->reasoning_tokens.add(record.usage->reasoning_tokens);
    }
    log(outcome, record, took);
}

void Exchange::log(const base::Result<>& outcome, const RelayRecord& record,
                   base::Duration took) const {
    const auto milliseconds = [](base::Duration time) {
        return std::chrono::duration_cast<std::chrono::milliseconds>(time);
    };
    telemetry::AccessRecord line{.request_id = request_id_,
                                 .peer = http_.peer,
                                 .method = http_.method,
                                 .path = http_.path,
                                 .model = metrics_ ? std::string_view(metrics_->model) : "",
                                 .status = status_,
                                 .finish = record.finish,
                                 .instance = record.last_instance,
                                 .attempts = record.attempts,
                                 .client_gone = responder_.client_gone(),
                                 .total_ms = milliseconds(took)};
    if (!outcome)
        line.error = outcome.error().tag.empty() ? base::name(outcome.error().code)
                                                 : std::string_view(outcome.error().tag);
    if (record.attempts > 0) {
        line.guarantee = name(record.guarantee);
        line.queue_ms = milliseconds(record.queued);
        line.first_token_ms = milliseconds(record.first_token);
    }
    if (record.usage) {
        line.prompt_tokens = record.usage->prompt_tokens;
        line.completion_tokens = record.usage->completion_tokens;
        line.reasoning_tokens = record.usage->reasoning_tokens;
    }
    telemetry::log_access(line);
}

}  // namespace holdfast::gateway
