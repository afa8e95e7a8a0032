// The routes that say how the worker is and what it serves.
#include <unistd.h>

#include <array>

#include "common/json/writer.h"
#include "common/upstream/readiness.h"
#include "inference/worker/call.h"
#include "inference/worker/worker.h"

namespace holdfast::worker {

using json::Writer;

loop::Task<void> Worker::get_liveness(Call& call) {
    co_await send_json(call, 200, R"({"live":true})");
}

std::string Worker::readiness() const {
    upstream::Readiness now{.ready = loaded() && !draining_,
                            .draining = draining_,
                            .model = settings_.model,
                            .load_progress = load_progress_.load(),
                            .pid = ::getpid(),
                            .instance_life = instance_life_,
                            .progress = 0};
    if (!loaded()) now.reasons.emplace_back("loading");
    if (draining_) now.reasons.emplace_back("draining");
    if (loaded()) {
        const engine::Stats stats = serving_.engine->stats();
        now.fingerprint = serving_.engine->fingerprint();
        now.context = serving_.engine->model().shape().context;
        now.running = stats.running;
        now.waiting = stats.waiting;
        now.progress = stats.progress;
    }
    return upstream::render_readiness(now);
}

loop::Task<void> Worker::get_readiness(Call& call) {
    co_await send_json(call, check_ready() ? 200 : 503, readiness());
}

loop::Task<void> Worker::get_health(Call& call) {
    std::string body;
    json::Writer json(body);
    json.begin_object();
    json.string("status", draining_ ? "draining" : loaded() ? "ok" : "loading");
    json.string("model", settings_.model);
    json.end_object();
    co_await send_json(call, check_ready() ? 200 : 503, std::move(body));
}

loop::Task<void> Worker::get_metrics(Call& call) {
    http::Response response;
    response.headers.add("Content-Type", std::string(telemetry::metrics_content_type));
    response.headers.add("x-request-id", call.request_id);
    response.body = registry_.render();
    call.status = response.status;
    co_await call.responder.send(std::move(response));
}

dialect::ModelCard Worker::model_card() const {
    const model::Model& model = serving_.engine->model();
    return {settings_.model, started_unix_seconds_, model.shape().context,
            serving_.engine->fingerprint()};
}

// The list, or one model by its name.
loop::Task<void> Worker::get_models(Call& call) {
    const auto ready = check_ready();
    if (!loaded()) {
        co_await send_error(call, ready.error());
        co_return;
    }
    constexpr std::string_view list = "/v1/models";
    if (call.request.path == list || call.request.path == "/models") {
        const std::array cards{model_card()};
        co_await send_json(call, 200, dialect::render_models(cards));
    } else if (call.request.path.substr(list.size() + 1) == settings_.model) {
        co_await send_json(call, 200, dialect::render_model(model_card()));
    } else {
        base::Error error{base::Code::not_found,
                          "The model does not exist.",
                          base::Origin::client,
                          base::Retry::no,
                          "model",
                          "model_not_found"};
        co_await send_error(call, error);
    }
}

}  // namespace holdfast::worker
