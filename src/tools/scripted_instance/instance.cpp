#include "tools/scripted_instance/instance.h"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/post.hpp>

#include "common/dialect/dialect.h"
#include "common/loop/sleep.h"
#include "common/upstream/readiness.h"

namespace holdfast::scripted_instance {
namespace {

constexpr std::string_view fingerprint = "scripted-1";

http::Headers headers(std::string_view content_type) {
    http::Headers fields;
    fields.add("Content-Type", std::string(content_type));
    fields.add("x-holdfast-fingerprint", std::string(fingerprint));
    return fields;
}

http::Response json(int status, std::string body) {
    return {status, headers("application/json"), std::move(body)};
}

}  // namespace

http::Response error_answer(int status, std::string_view reason) {
    return json(status, dialect::render_status(status, reason).body);
}

Instance::Instance(base::Entropy& entropy) : life_(base::random_hex(entropy, 16)) {}

loop::Task<void> Instance::answer(http::Request request, http::Responder& responder) {
    if (request.path == "/v1/chat/completions" && request.method == "POST") {
        ++running_;
        co_await complete(std::move(request), responder);
        --running_;
        co_return;
    }
    http::Response response =
        request.path == "/readyz" ? json(200, readiness()) : error_answer(404, "no such page");
    // A client that left is none of the instance's business.
    (void)co_await responder.send(std::move(response));
}

loop::Task<void> Instance::complete(http::Request request, http::Responder& responder) {
    const auto parsed = dialect::find("POST", request.path).route->parse(request.body);
    base::Result<Ask> ask = parsed ? read_ask(*parsed) : std::unexpected(parsed.error());
    if (ask && parsed->presentation.stream) {
        co_await stream(*ask, responder);
        co_return;
    }
    http::Response response;
    if (ask) {
        progress_ += ask->events;
        response = json(200, scripts_.of(*ask)->whole);
    } else {
        const dialect::ErrorAnswer error = dialect::render_error(ask.error());
        response = json(error.status, error.body);
    }
    (void)co_await responder.send(std::move(response));
}

// One write an event, and between two events everybody else has his turn, as in an engine's batch.
loop::Task<void> Instance::stream(Ask ask, http::Responder& responder) {
    const auto script = scripts_.of(ask);
    responder.start(200, headers("text/event-stream"));
    for (std::size_t i = 0; i + 1 < script->events.size(); ++i) {
        const auto written = co_await responder.write(script->events[i]);
        if (!written) co_return;
        ++progress_;
        if (ask.pause_us > 0) {
            co_await loop::sleep_for(std::chrono::microseconds(ask.pause_us));
        } else {
            co_await asio::post(loop::as_result);
        }
    }
    ++progress_;
    (void)co_await responder.finish(script->events.back());
}

std::string Instance::readiness() const {
    return upstream::render_readiness({.ready = true,
                                       .model = std::string(model_name),
                                       .fingerprint = std::string(fingerprint),
                                       .context = 131'072,
                                       .pid = ::getpid(),
                                       .instance_life = life_,
                                       .running = running_,
                                       .progress = progress_});
}

}  // namespace holdfast::scripted_instance
