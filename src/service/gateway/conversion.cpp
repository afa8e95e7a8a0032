#include "service/gateway/conversion.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "common/http/request_rules.h"
#include "common/loop/sleep.h"
#include "common/telemetry/access.h"
#include "service/gateway/exchange.h"
#include "service/gateway/loss.h"
#include "service/gateway/routes.h"

namespace holdfast::gateway {

namespace {

// An older or smaller server than its kind promises.
bool has_no_such_path(int status) { return status == 404 || status == 405 || status == 501; }

}  // namespace

bool Conversion::handles(std::string_view path) {
    return path == dialect::tokenize_path || path == dialect::detokenize_path;
}

Conversion::Conversion(Lane& lane, http::Request request, http::Responder& responder)
    : lane_(lane),
      http_(std::move(request)),
      responder_(responder),
      arrived_(lane.clock.now()),
      request_id_(http::request_id(http_.headers, lane.entropy)) {}

Conversion::~Conversion() {
    if (entry_) lane_.journal.close(*entry_);
}

loop::Task<void> Conversion::run() {
    base::Result<> ready = parse();
    if (ready) ready = admit();
    base::Result<std::string> outcome;
    if (ready) {
        outcome = co_await relay();
    } else {
        outcome = std::unexpected(std::move(ready).error());
    }
    co_await answer(outcome);
    settle(outcome);
}

base::Result<> Conversion::parse() {
    HF_TRY_ASSIGN(const auto total, total_time(http_.headers, lane_.options.timeouts.total));
    deadline_ = base::Deadline(arrived_ + total);
    HF_TRY(http::check_json_body(http_.headers));
    if (http_.path == dialect::tokenize_path) {
        HF_TRY_ASSIGN(request_, dialect::parse_tokenize(http_.body));
    } else {
        HF_TRY_ASSIGN(request_, dialect::parse_detokenize(http_.body));
    }
    // vLLM lets clients leave the model out; with one model there is no question.
    if (!model().empty()) return {};
    std::string_view only;
    for (const fleet::Instance& instance : lane_.fleet.snapshot().instances) {
        if (instance.model.empty() || instance.model == only) continue;
        if (!only.empty())
            return base::fail_field("model", "model must be given: there are several.");
        only = instance.model;
    }
    std::visit([&](auto& request) { request.model = only; }, request_);
    return {};
}

// The same bound on what is in flight as for answers.
base::Result<> Conversion::admit() {
    lane_.budget.deposit();
    const auto entry = lane_.journal.open(request_id_, 0, http_.path, http_.body);
    if (!entry)
        return std::unexpected(base::Error{
            base::Code::overloaded, "The gateway is at its limit of requests in flight.",
            base::Origin::self, base::Retry::later, "", "overloaded"});
    entry_ = *entry;
    http_.body = {};
    return {};
}

loop::Task<base::Result<std::string>> Conversion::relay() {
    const base::Deadline patience =
        base::Deadline::after(lane_.clock, lane_.options.timeouts.place).sooner(deadline_);
    for (;;) {
        const Need need{.model = model(),
                        .fingerprint = {},
                        .text = nullptr,
                        .last = last_instance_,
                        .busy = busy_};
        auto placed = lane_.fleet.place_now(need);
        if (!placed) placed.emplace(co_await lane_.fleet.place(need, patience));
        if (!*placed) co_return std::unexpected(unable_ ? *unable_ : std::move(*placed).error());
        const Placed& seat = **placed;
        auto call = encode(seat.instance());
        if (!call) {
            unable_ = std::move(call).error();
            busy_.push_back(seat.instance().id);
            continue;
        }
        ++attempts_;
        last_instance_ = seat.instance().id;
        auto body = co_await attempt(seat, *std::move(call));
        if (body) {
            lane_.fleet.report(seat, fleet::Outcome::ok);
            co_return *std::move(body);
        }
        const Loss& loss = body.error();
        if (responder_.client_gone() || loss.error.code == base::Code::cancelled)
            co_return base::fail(base::Code::cancelled, "the client has gone");
        if (loss.error.origin != base::Origin::instance || deadline_.passed(lane_.clock.now()))
            co_return std::unexpected(loss.error);
        if (loss.error.tag == "not_implemented") {
            unable_ = loss.error;
            busy_.push_back(last_instance_);
            continue;
        }
        lane_.fleet.report(seat, loss.outcome);
        if (loss.outcome == fleet::Outcome::busy) busy_.push_back(last_instance_);
        spdlog::warn("{}: attempt {} at instance {} ended: {}", request_id_, attempts_,
                     last_instance_, loss.error.what);
        if (auto go_on = co_await pace(loss); !go_on)
            co_return std::unexpected(std::move(go_on).error());
    }
}

// Another attempt, when the retry budget allows it.
loop::Task<base::Result<>> Conversion::pace(const Loss& loss) {
    if (loss.outcome != fleet::Outcome::busy) ++fruitless_;
    if (fruitless_ >= lane_.options.fruitless_attempts_max) co_return std::unexpected(loss.error);
    lane_.metrics.retry(base::name(loss.error.code));
    while (!lane_.budget.withdraw()) {
        if (deadline_.passed(lane_.clock.now()) || responder_.client_gone())
            co_return std::unexpected(loss.error);
        co_await loop::sleep_for(std::chrono::milliseconds(50));
    }
    co_return base::Result<>{};
}

loop::Task<std::expected<std::string, Conversion::Loss>> Conversion::attempt(
    const Placed& placed, upstream::UpstreamCall call) {
    const Timeouts& timeouts = lane_.options.timeouts;
    const http::ClientDeadlines deadlines{
        base::Deadline::after(lane_.clock, timeouts.connect).sooner(deadline_),
        base::Deadline::after(lane_.clock, timeouts.first_token).sooner(deadline_)};
    http::ClientRequest request{"POST", std::move(call.path), {}, std::move(call.body)};
    request.headers.add("Content-Type", "application/json");
    request.headers.add("x-request-id", request_id_);
    http::Abort abort;
    const FleetView::Watch watch(lane_.fleet, placed, abort);
    const auto broken = [&abort](base::Error error) {
        if (abort.triggered()) error = lost("the instance was found dead or hung");
        const fleet::Outcome outcome = judge(error);
        if (error.code == base::Code::deadline) error = lost("the instance did not answer in time");
        return std::unexpected(Loss{std::move(error), outcome});
    };
    auto sent =
        co_await lane_.client.send(placed.instance().url, std::move(request), deadlines, &abort);
    if (!sent) co_return broken(std::move(sent).error());
    http::Exchange& upstream = **sent;
    auto body = co_await upstream.read_all(deadlines.response_head);
    if (!body) co_return broken(std::move(body).error());
    if (upstream.status() == 200) {
        auto answer = translate(*body, placed.instance());
        if (answer) co_return *std::move(answer);
        co_return std::unexpected(Loss{std::move(answer).error(), fleet::Outcome::sick});
    }
    const bool external = placed.instance().kind != upstream::InstanceKind::holdfast;
    base::Error error = upstream::read_upstream_error(upstream.status(), *body);
    if (external && has_no_such_path(upstream.status())) {
        error = {base::Code::invalid,
                 fmt::format("The instance {} offers no {}.", placed.instance().id, http_.path),
                 base::Origin::instance,
                 base::Retry::elsewhere,
                 "",
                 "not_implemented"};
    }
    const fleet::Outcome outcome =
        judge(error) == fleet::Outcome::busy ? fleet::Outcome::busy : fleet::Outcome::sick;
    co_return std::unexpected(Loss{std::move(error), outcome});
}

const std::string& Conversion::model() const {
    return std::visit([](const auto& request) -> const std::string& { return request.model; },
                      request_);
}

base::Result<upstream::UpstreamCall> Conversion::encode(const fleet::Instance& instance) const {
    return std::visit(
        [&](const auto& request) {
            return upstream::encode_upstream(request, instance.kind, instance.upstream_model);
        },
        request_);
}

base::Result<std::string> Conversion::translate(std::string_view body,
                                                const fleet::Instance& instance) const {
    if (std::holds_alternative<dialect::DetokenizeRequest>(request_)) {
        HF_TRY_ASSIGN(const std::string text, upstream::read_detokenized(body));
        return dialect::render_detokenized(text);
    }
    HF_TRY_ASSIGN(dialect::TokenizeAnswer answer, upstream::read_tokenized(body));
    if (answer.context == 0) answer.context = instance.context;
    return dialect::render_tokenized(answer);
}

loop::Task<void> Conversion::answer(const base::Result<std::string>& outcome) {
    if (!outcome && (outcome.error().code == base::Code::cancelled || responder_.client_gone())) {
        status_ = 499;
        co_return;
    }
    http::Response response;
    if (outcome) {
        response.body = *outcome;
        response.headers.add("Content-Type", "application/json");
        response.headers.add("x-holdfast-instance", last_instance_);
        response.headers.add("x-holdfast-attempts", fmt::format("{}", attempts_));
    } else {
        base::Error shown = outcome.error();
        shown.what += fmt::format(" (request id {})", request_id_);
        response = error_response(shown);
        if (response.status == 429 || response.status == 503)
            response.headers.add("Retry-After", "1");
    }
    response.headers.add("x-request-id", request_id_);
    status_ = response.status;
    (void)co_await responder_.send(std::move(response));
}

void Conversion::settle(const base::Result<std::string>& outcome) const {
    const std::string_view finish = outcome ? "stop" : base::name(outcome.error().code);
    const std::string_view known = lane_.fleet.knows(model()) ? std::string_view(model()) : "";
    lane_.counters.add(http_.path.substr(1), known, status_, finish);
    telemetry::AccessRecord line{.request_id = request_id_,
                                 .peer = http_.peer,
                                 .method = http_.method,
                                 .path = http_.path,
                                 .model = known,
                                 .status = status_,
                                 .instance = last_instance_,
                                 .attempts = attempts_,
                                 .client_gone = responder_.client_gone(),
                                 .total_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                                     lane_.clock.now() - arrived_)};
    if (!outcome)
        line.error = outcome.error().tag.empty() ? base::name(outcome.error().code)
                                                 : std::string_view(outcome.error().tag);
    telemetry::log_access(line);
}

}  // namespace holdfast::gateway
