#include "inference/worker/worker.h"

#include <unistd.h>

#include <algorithm>

#include "common/http/request_rules.h"
#include "common/json/writer.h"
#include "inference/worker/answer.h"
#include "inference/worker/call.h"

namespace holdfast::worker {
namespace {

constexpr std::string_view get_methods = "GET, HEAD";
constexpr std::string_view post_methods = "POST";

// `methods` as in an Allow header.
bool takes(std::string_view methods, std::string_view method) {
    return methods == method || (methods == get_methods && (method == "GET" || method == "HEAD"));
}

base::Error error_of(base::Code code, std::string what, std::string tag, base::Retry retry) {
    return base::Error{code, std::move(what), base::Origin::instance, retry, {}, std::move(tag)};
}

http::Response response_of(const dialect::ErrorAnswer& answer) {
    http::Response response;
    response.status = answer.status;
    response.headers.add("Content-Type", "application/json");
    // Not a second: who retries at once finds the same state, and a minute would be ignored.
    if (answer.status == 429 || answer.status == 503) response.headers.add("Retry-After", "1");
    response.body = answer.body;
    return response;
}

}  // namespace

struct Worker::Route {
    std::string_view path;
    std::string_view methods;
    loop::Task<void> (Worker::*answer)(Call&);
};

Worker::Worker(loop::Executor executor, const base::Clock& clock, base::Entropy& entropy,
               telemetry::Registry& registry, Settings settings)
    : executor_(std::move(executor)),
      clock_(clock),
      entropy_(entropy),
      registry_(registry),
      settings_(std::move(settings)),
      metrics_(registry, settings_.model),
      instance_life_(base::random_hex(entropy, 8)),
      started_unix_seconds_(clock.unix_seconds()),
      pool_(settings_.pool_threads) {
    registry_.on_collect([this] {
        if (serving_.engine) metrics_.mirror(serving_.engine->stats());
    });
}

Worker::~Worker() { join(); }

void Worker::join() {
    pool_.stop();
    pool_.join();
}

void Worker::adopt(Serving serving) {
    serving_ = std::move(serving);
    load_progress_ = 1.0;
}

bool Worker::moves() {
    if (!serving_.engine) return true;
    const engine::Stats stats = serving_.engine->stats();
    const bool has_work = stats.running + stats.waiting > 0;
    const bool stands = has_work && had_work_ && stats.progress == last_progress_;
    had_work_ = has_work;
    last_progress_ = stats.progress;
    return !stands;
}

http::Handler Worker::handler() {
    return [this](http::Request request, http::Responder& responder) {
        return handle(std::move(request), responder);
    };
}

http::Response Worker::render_status(int status, std::string_view reason) {
    return response_of(dialect::render_status(status, reason));
}

const Worker::Route* Worker::find_route(std::string_view path) {
    static constexpr Route routes[] = {
        {"/livez", get_methods, &Worker::get_liveness},
        {"/readyz", get_methods, &Worker::get_readiness},
        {"/health", get_methods, &Worker::get_health},
        {"/metrics", get_methods, &Worker::get_metrics},
        {"/v1/models", get_methods, &Worker::get_models},
        {"/models", get_methods, &Worker::get_models},
        {"/tokenize", post_methods, &Worker::tokenize},
        {"/detokenize", post_methods, &Worker::detokenize},
    };
    const auto found = std::ranges::find(routes, path, &Route::path);
    if (found != std::end(routes)) return found;
    static constexpr Route models{"/v1/models/", get_methods, &Worker::get_models};
    return path.starts_with(models.path) ? &models : nullptr;
}

namespace {

// Counts an exchange for as long as its coroutine lives.
class Presence {
public:
    explicit Presence(std::size_t& count) : count_(count) { ++count_; }
    ~Presence() { --count_; }
    Presence(const Presence&) = delete;
    Presence& operator=(const Presence&) = delete;

private:
    std::size_t& count_;
};

}  // namespace

loop::Task<void> Worker::handle(http::Request request, http::Responder& responder) {
    const Presence presence(exchanges_);
    Call call{std::move(request), responder, {}, clock_.now(), "unknown", 0, {}, {}};
    call.request_id = http::request_id(call.request.headers, entropy_);
    co_await route(call);
    metrics_.count_request(call.endpoint, call.status, call.finish);
}

loop::Task<void> Worker::route(Call& call) {
    const Route* const route = find_route(call.request.path);
    const dialect::Found found = dialect::find(call.request.method, call.request.path);
    if (!route && !found.dialect) {
        const base::Error error =
            error_of(base::Code::not_found, "There is no such path.", "not_found", base::Retry::no);
        co_await send_error(call, error);
        co_return;
    }
    const std::string_view methods = route ? route->methods : found.methods;
    call.endpoint = route ? route->path : found.dialect->routes.front().path;
    if (route ? !takes(methods, call.request.method) : !found.route) {
        const base::Error error =
            error_of(base::Code::invalid, fmt::format("{} takes {}.", call.endpoint, methods),
                     "method_not_allowed", base::Retry::no);
        http::Response response = response_of(dialect::render_error(error));
        response.headers.add("Allow", std::string(methods));
        response.headers.add("x-request-id", call.request_id);
        call.status = response.status;
        co_await call.responder.send(std::move(response));
    } else if (route) {
        co_await (this->*route->answer)(call);
    } else {
        co_await complete(call, found);
    }
}

loop::Task<void> Worker::complete(Call& call, dialect::Found found) {
    Answer answer(*this, call, *found.dialect, *found.route);
    co_await answer.run();
}

base::Result<> Worker::check_ready() const {
    if (draining_) {
        return std::unexpected(error_of(base::Code::unavailable, "The worker is shutting down.",
                                        "unavailable", base::Retry::elsewhere));
    }
    if (!loaded()) {
        return std::unexpected(
            error_of(base::Code::unavailable,
                     fmt::format("The model is loading ({:.0f} %).", load_progress_ * 100),
                     "unavailable", base::Retry::elsewhere));
    }
    return {};
}

loop::Task<base::Result<>> Worker::off_loop(std::shared_ptr<Bell> bell,
                                            std::function<void()> work) {
    if (preparing_ >= settings_.preparing_max) {
        co_return std::unexpected(error_of(base::Code::overloaded,
                                           "Too many requests wait to be prepared.", "overloaded",
                                           base::Retry::elsewhere));
    }
    const Presence presence(preparing_);
    auto done = std::make_shared<std::atomic<bool>>(false);
    asio::post(pool_, [work = std::move(work), done, bell] {
        work();
        done->store(true, std::memory_order_release);
        bell->ring();
    });
    while (!done->load(std::memory_order_acquire)) co_await bell->wait(std::chrono::minutes(1));
    co_return base::Result<>();
}

loop::Task<void> Worker::send_json(Call& call, int status, std::string body) {
    http::Response response;
    response.status = status;
    response.headers.add("Content-Type", "application/json");
    response.headers.add("x-request-id", call.request_id);
    response.body = std::move(body);
    call.status = status;
    co_await call.responder.send(std::move(response));
}

loop::Task<void> Worker::send_error(Call& call, const base::Error& error) {
    http::Response response = response_of(dialect::render_error(error));
    response.headers.add("x-request-id", call.request_id);
    if (loaded()) response.headers.add("x-holdfast-fingerprint", serving_.engine->fingerprint());
    call.status = response.status;
    call.error_tag = error.tag;
    co_await call.responder.send(std::move(response));
}

}  // namespace holdfast::worker
