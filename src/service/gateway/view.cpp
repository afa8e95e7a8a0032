#include "service/gateway/view.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "service/admin/models.h"
#include "service/admin/status.h"

namespace holdfast::gateway {

namespace {

using Answer = base::Result<http::Response>;

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

Answer liveness(const Lane&, const Front&, std::string_view) {
    return json(200, R"({"status":"ok"})");
}

Answer health(const Lane& lane, const Front&, std::string_view) {
    const bool ready = any_ready(lane);
    return json(ready ? 200 : 503, ready ? R"({"status":"ok"})" : R"({"status":"unavailable"})");
}

// Ready from the moment that a request would find an instance.
Answer readiness(const Lane& lane, const Front& front, std::string_view) {
    const bool draining = front.draining.load(std::memory_order_relaxed);
    const bool ready = !draining && any_ready(lane);
    return json(ready ? 200 : 503, admin::render_readiness(lane.fleet.snapshot(), draining));
}

Answer models(const Lane& lane, const Front&, std::string_view) {
    return json(any_ready(lane) ? 200 : 503, admin::render_models(lane.fleet.snapshot()));
}

Answer model(const Lane& lane, const Front&, std::string_view id) {
    if (auto body = admin::render_model(lane.fleet.snapshot(), id))
        return json(200, *std::move(body));
    return std::unexpected(
        base::Error{base::Code::not_found, fmt::format("The model `{}` does not exist.", id),
                    base::Origin::client, base::Retry::no, "model", "model_not_found"});
}

Answer metrics(const Lane&, const Front& front, std::string_view) {
    http::Response response{200, {}, front.registry.render()};
    response.headers.add("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    return response;
}

Answer status(const Lane& lane, const Front& front, std::string_view) {
    return json(200, admin::render_status(
                         lane.fleet.snapshot(),
                         {HOLDFAST_VERSION, lane.clock.now() - front.started, ::getpid()}));
}

// What is looked at, by path. `rest` is what follows a path that ends in '/'.
struct Kind {
    std::string_view path;
    Answer (*render)(const Lane& lane, const Front& front, std::string_view rest);
};

constexpr Kind kinds[] = {
    {"/livez", liveness},   {"/readyz", readiness},       {"/health", health},
    {"/v1/health", health}, {"/metrics", metrics},        {"/v1/models", models},
    {"/v1/models/", model}, {"/admin/v1/status", status}, {"/models", models},
};

class View final : public Endpoint {
public:
    View(Context& context, const Front& front, const Kind& kind, std::string_view rest)
        : context_(context), front_(front), kind_(kind), rest_(rest) {}

    std::string_view name() const override { return {}; }
    std::string_view methods() const override { return "GET, HEAD"; }
    base::Result<> parse(const http::Request&) override { return {}; }
    loop::Task<base::Result<>> answer() override {
        Answer response = kind_.render(context_.lane, front_, rest_);
        if (!response) co_return std::unexpected(std::move(response).error());
        response->headers.add("x-request-id", context_.request_id);
        co_return co_await context_.responder.send(*std::move(response));
    }

private:
    Context& context_;
    const Front& front_;
    const Kind& kind_;
    std::string rest_;
};

}  // namespace

std::unique_ptr<Endpoint> make_view(Context& context, const Front& front, std::string_view path) {
    for (const Kind& kind : kinds) {
        const bool family = kind.path.ends_with('/');
        if (family ? !path.starts_with(kind.path) : path != kind.path) continue;
        return std::make_unique<View>(context, front, kind, path.substr(kind.path.size()));
    }
    return nullptr;
}

}  // namespace holdfast::gateway
