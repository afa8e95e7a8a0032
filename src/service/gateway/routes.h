// Which path gets which answer.
#pragma once

#include <atomic>

#include "common/http/message.h"
#include "common/http/server.h"
#include "common/telemetry/metrics.h"
#include "service/gateway/lane.h"

namespace holdfast::gateway {

// What the routes need beside the lane. Outlives all loops.
struct Front {
    telemetry::Registry& registry;
    std::atomic<bool> draining{false};
    base::Instant started{};
};

loop::Task<void> route(Lane& lane, Front& front, http::Request request, http::Responder& responder);

// The body of an answer to a request that was broken before any API could see it.
http::Response error_response(const base::Error& error);
http::Response protocol_error(int status, std::string_view reason);

}  // namespace holdfast::gateway
