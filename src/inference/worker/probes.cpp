// The routes that say how the worker is and what it serves.
#include <unistd.h>

#include "common/json/writer.h"
#include "inference/worker/call.h"
#include "inference/worker/worker.h"

namespace holdfast::worker {

using json::Writer;

loop::Task<void> Worker::get_liveness(Call& call) {
    co_await send_json(call, 200, R"({"live":true})");
}

std::string Worker::readiness() const {
    const engine::Stats stats = loaded() ? serving_.engine->stats() : engine::Stats();
    std::string body;
    json::Writer json(body);
    json.begin_object();
    json.boolean("ready", loaded() && !draining_);
    json.key("reasons");
    json.begin_array();
    if (!loaded()) json.string("loading");
    if (draining_) json.string("draining");
    json.end_array();
    json.string("model", settings_.model);
    json.string("fingerprint",
                loaded() ? std::string_view(serving_.engine->model().fingerprint()) : "");
    json.number("context", loaded() ? serving_.engine->model().shape().context : 0);
    json.number("load_progress", load_progress_.load());
    json.number("pid", ::getpid());
    json.string("instance_life", instance_life_);
    json.number("running", stats.running);
    json.number("waiting", stats.waiting);
    json.number("progress", stats.progress);
    json.boolean("draining", draining_);
    json.end_object();
    return body;
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

std::string Worker::model_object() const {
    std::string out;
    json::Writer json(out);
    json.begin_object();
    json.string("id", settings_.model);
    json.string("object", "model");
    json.number("created", started_unix_seconds_);
    json.string("owned_by", "holdfast");
    json.number("context_length", serving_.engine->model().shape().context);
    json.key("holdfast");
    json.begin_object();
    json.string("fingerprint", serving_.engine->model().fingerprint());
    json.end_object();
    json.end_object();
    return out;
}

// The list, or one model by its name.
loop::Task<void> Worker::get_models(Call& call) {
    const auto ready = check_ready();
    if (!loaded()) {
        co_await send_error(call, ready.error());
        co_return;
    }
    constexpr std::string_view list = "/v1/models";
    if (call.request.path == list) {
        std::string body = R"({"object":"list","data":[)" + model_object() + "]}";
        co_await send_json(call, 200, std::move(body));
    } else if (call.request.path.substr(list.size() + 1) == settings_.model) {
        co_await send_json(call, 200, model_object());
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
