#include "service/gateway/exchange.h"

#include <fmt/format.h>

#include "common/http/request_rules.h"
#include "common/telemetry/access.h"

namespace holdfast::gateway {

namespace {

std::string retry_after(const base::Error& error) {
    return error.code == base::Code::overloaded ? "1" : "5";
}

bool is_listed(std::string_view methods, std::string_view method) {
    return methods == method || methods.starts_with(std::string(method) + ", ") ||
           methods.ends_with(", " + std::string(method));
}

base::Error no_such_path(std::string_view path) {
    return {base::Code::not_found,
            fmt::format("There is nothing at {}.", path),
            base::Origin::client,
            base::Retry::no,
            "",
            "not_found"};
}

base::Error wrong_method(std::string_view allowed) {
    return {base::Code::invalid,
            fmt::format("This path takes {} only.", allowed),
            base::Origin::client,
            base::Retry::no,
            "",
            "method_not_allowed"};
}

double seconds(base::Duration time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

Exchange::Exchange(Lane& lane, const Front& front, http::Request request,
                   http::Responder& responder)
    : context_{.lane = lane,
               .responder = responder,
               .arrived = lane.clock.now(),
               .request_id = {},
               .allowance = {},
               .entry = {},
               .record = {}},
      http_(std::move(request)),
      endpoint_(find_endpoint(context_, front, http_.path)) {}

Exchange::~Exchange() {
    if (context_.entry) context_.lane.journal.close(*context_.entry);
}

loop::Task<void> Exchange::run() {
    identify();
    base::Result<> outcome = parse();
    if (outcome) outcome = admit();
    if (outcome) outcome = co_await endpoint_->answer();
    if (!outcome) co_await refuse(outcome.error());
    settle(outcome);
}

void Exchange::identify() {
    context_.request_id = http::request_id(http_.headers, context_.lane.entropy);
}

base::Result<> Exchange::parse() {
    if (!endpoint_) return std::unexpected(no_such_path(http_.path));
    if (!is_listed(endpoint_->methods(), http_.method))
        return std::unexpected(wrong_method(endpoint_->methods()));
    HF_TRY_ASSIGN(context_.allowance,
                  settle_allowance(context_.lane.options, http_.headers, context_.arrived));
    if (http_.method == "POST") HF_TRY(http::check_json_body(http_.headers));
    return endpoint_->parse(http_);
}

// A request that needs an instance is let in when the journal can hold it: from here on it survives
// that instance.
base::Result<> Exchange::admit() {
    Lane& lane = context_.lane;
    std::optional<Journal::Opening> opening = endpoint_->opening();
    if (!opening) return {};
    // Only names of models that exist become labels.
    if (endpoint_->generates()) {
        const std::string_view known = known_model();
        context_.metrics = &lane.metrics.of(known.empty() ? "unknown" : known);
        context_.metrics->incoming.add();
    }
    lane.budget.deposit();
    opening->request_id = context_.request_id;
    opening->path = http_.path;
    opening->body = http_.body;
    opening->deadline = context_.allowance.deadline;
    auto entry = lane.journal.open(*opening);
    if (!entry)
        return std::unexpected(base::Error{
            base::Code::overloaded, "The gateway is at its limit of requests in flight.",
            base::Origin::self, base::Retry::later, "", "overloaded"});
    context_.entry = *entry;
    http_.body = {};
    return {};
}

loop::Task<void> Exchange::refuse(const base::Error& error) {
    if (error.code == base::Code::cancelled || context_.responder.client_gone()) {
        status_ = 499;  // nginx's code for a client that closed its connection; for the log only
        co_return;
    }
    base::Error shown = error;
    shown.what += fmt::format(" (request id {})", context_.request_id);
    if (context_.record.head_sent) {
        (void)co_await endpoint_->end_with(shown);
        co_return;
    }
    dialect::ErrorAnswer answer =
        endpoint_ ? endpoint_->render_error(shown) : dialect::render_error(shown);
    status_ = answer.status;
    http::Response response{answer.status, {}, std::move(answer.body)};
    response.headers.add("Content-Type", "application/json");
    response.headers.add("x-request-id", context_.request_id);
    if (error.tag == "method_not_allowed") response.headers.add("Allow", endpoint_->methods());
    if (answer.status == 429 || answer.status == 503)
        response.headers.add("Retry-After", retry_after(error));
    (void)co_await context_.responder.send(std::move(response));
}

void Exchange::settle(const base::Result<>& outcome) {
    if (!endpoint_ || endpoint_->name().empty()) return;
    const base::Duration took = context_.now() - context_.arrived;
    const std::string_view model =
        context_.metrics != nullptr ? std::string_view(context_.metrics->model) : known_model();
    context_.lane.counters.add(endpoint_->name(), model, status_,
                               outcome ? context_.record.finish : base::name(outcome.error().code));
    if (context_.metrics != nullptr) measure(took);
    log(outcome, took);
}

void Exchange::measure(base::Duration took) const {
    const Record& record = context_.record;
    ModelMetrics& metrics = *context_.metrics;
    if (record.attempts > 0) {
        metrics.duration.observe(seconds(took));
        metrics.queued.observe(seconds(record.queued));
    }
    if (!record.usage) return;
    metrics.prompt_tokens.add(record.usage->prompt_tokens);
    metrics.generation_tokens.add(record.usage->completion_tokens);
    metrics.reasoning_tokens.add(record.usage->reasoning_tokens);
}

void Exchange::log(const base::Result<>& outcome, base::Duration took) const {
    const auto milliseconds = [](base::Duration time) {
        return std::chrono::duration_cast<std::chrono::milliseconds>(time);
    };
    const Record& record = context_.record;
    telemetry::AccessRecord line{.request_id = context_.request_id,
                                 .peer = http_.peer,
                                 .method = http_.method,
                                 .path = http_.path,
                                 .model = context_.metrics != nullptr
                                              ? std::string_view(context_.metrics->model)
                                              : known_model(),
                                 .status = status_,
                                 .finish = record.finish,
                                 .instance = record.last_instance,
                                 .attempts = record.attempts,
                                 .client_gone = context_.responder.client_gone(),
                                 .total_ms = milliseconds(took)};
    if (!outcome)
        line.error = outcome.error().tag.empty() ? base::name(outcome.error().code)
                                                 : std::string_view(outcome.error().tag);
    if (record.guarantee) line.guarantee = name(*record.guarantee);
    if (record.attempts > 0) {
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

// Empty if no instance serves it.
std::string_view Exchange::known_model() const {
    const std::string_view asked = endpoint_->model();
    return context_.lane.fleet.knows(asked) ? asked : "";
}

}  // namespace holdfast::gateway
