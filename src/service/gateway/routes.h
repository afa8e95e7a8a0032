// Which path is which endpoint.
#pragma once

#include <atomic>
#include <memory>
#include <string_view>

#include "common/http/message.h"
#include "common/http/server.h"
#include "common/telemetry/metrics.h"
#include "service/gateway/endpoint.h"
#include "service/gateway/lane.h"

namespace holdfast::gateway {

// What endpoints need beside the lane. Outlives all loops.
struct Front {
    telemetry::Registry& registry;
    std::atomic<bool> draining{false};
    base::Instant started{};
};

// The endpoint at this path, or nothing.
std::unique_ptr<Endpoint> find_endpoint(Context& context, const Front& front,
                                        std::string_view path);

// The handler of a gateway's server: one exchange.
loop::Task<void> route(Lane& lane, const Front& front, http::Request request,
                       http::Responder& responder);

// The answer to a request that was broken before there was an exchange.
http::Response protocol_error(int status, std::string_view reason);

}  // namespace holdfast::gateway
