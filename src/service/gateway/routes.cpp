#include "service/gateway/routes.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "common/dialect/dialect.h"
#include "common/http/request_rules.h"
#include "service/admin/models.h"
#include "service/admin/status.h"
#include "service/gateway/conversion.h"
#include "service/gateway/exchange.h"

namespace holdfast::gateway {

namespace {

http::Response json(int status, std::string body) {
    http::Response response{status, {}, std::move(body)};
    response.headers.add("Content-Type", "application/json");
    return response;
}

bool any_ready(const Lane& lane) {
    return std::ranges::any_of(lane.fleet.snapshot().instances, [](const auto& instance) {
        return instance.state == fleet::State::ready;
    });
}

// Ready from the moment that a request would find an instance.
http::Response readiness(const Lane& lane, const Front& front) {
    const bool draining = front.draining.load(std::memory_order_relaxed);
    const bool ready = !draining && any_ready(lane);
    return json(ready ? 200 : 503, admin::render_readiness(lane.fleet.snapshot(), draining));
}

http::Response models(const Lane& lane, std::string_view id) {
    if (id.empty())
        return json(any_ready(lane) ? 200 : 503, admin::render_models(lane.fleet.snapshot()));
    if (auto body = admin::render_model(lane.fleet.snapshot(), id)) return json(200, *body);
    return error_response({base::Code::not_found, fmt::format("The model `{}` does not exist.", id),
                           base::Origin::client, base::Retry::no, "model", "model_not_found"});
}

http::Response metrics(const Front& front) {
    http::Response response{200, {}, front.registry.render()};
    response.headers.add("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    return response;
}

// The answer to a GET, or nothing for a path that is not there.
std::optional<http::Response> view(const Lane& lane, const Front& front, std::string_view path) {
    constexpr std::string_view model_prefix = "/v1/models/";
    if (path == "/livez") return json(200, R"({"status":"ok"})");
    if (path == "/readyz") return readiness(lane, front);
    if (path == "/health" || path == "/v1/health")
        return json(any_ready(lane) ? 200 : 503,
                    any_ready(lane) ? R"({"status":"ok"})" : R"({"status":"unavailable"})");
    if (path == "/metrics") return metrics(front);
    if (path == "/v1/models") return models(lane, "");
    if (path.starts_with(model_prefix)) return models(lane, path.substr(model_prefix.size()));
    if (path == "/admin/v1/status")
        return json(200, admin::render_status(
                             lane.fleet.snapshot(),
                             {HOLDFAST_VERSION, lane.clock.now() - front.started, ::getpid()}));
    return std::nullopt;
}

base::Error wrong_method(std::string_view allowed) {
    return {base::Code::invalid,
            fmt::format("This path takes {} only.", allowed),
            base::Origin::client,
            base::Retry::no,
            "",
            "method_not_allowed"};
}

base::Error no_such_path(std::string_view path) {
    return {base::Code::not_found,
            fmt::format("There is nothing at {}.", path),
            base::Origin::client,
            base::Retry::no,
            "",
            "not_found"};
}

}  // namespace

http::Response error_response(const base::Error& error) {
    dialect::ErrorAnswer answer = dialect::openai_error(error);
    return json(answer.status, std::move(answer.body));
}

http::Response protocol_error(int status, std::string_view reason) {
    base::Error error{base::Code::invalid, std::string(reason), base::Origin::client};
    http::Response response = error_response(error);
    response.status = status;
    return response;
}

loop::Task<void> route(Lane& lane, Front& front, http::Request request,
                       http::Responder& responder) {
    const dialect::Dialect* dialect = dialect::find_by_path(request.path);
    if (dialect != nullptr && request.method == "POST") {
        Exchange exchange(lane, *dialect, std::move(request), responder);
        co_await exchange.run();
        co_return;
    }
    const bool converts = Conversion::handles(request.path);
    if (converts && request.method == "POST") {
        Conversion conversion(lane, std::move(request), responder);
        co_await conversion.run();
        co_return;
    }
    const bool reads = request.method == "GET" || request.method == "HEAD";
    std::optional<http::Response> response = view(lane, front, request.path);
    if (dialect != nullptr || converts) {
        response = error_response(wrong_method("POST"));
        response->headers.add("Allow", "POST");
    } else if (!response) {
        response = error_response(no_such_path(request.path));
    } else if (!reads) {
        response = error_response(wrong_method("GET"));
        response->headers.add("Allow", "GET, HEAD");
    }
    response->headers.add("x-request-id", http::request_id(request.headers, lane.entropy));
    (void)co_await responder.send(*std::move(response));
}

}  // namespace holdfast::gateway
