// What the gateway itself has the answer to: models, probes, metrics, status.
#pragma once

#include <memory>
#include <string_view>

#include "service/gateway/endpoint.h"
#include "service/gateway/routes.h"

namespace holdfast::gateway {

// The endpoint at this path, or nothing.
std::unique_ptr<Endpoint> make_view(Context& context, const Front& front, std::string_view path);

}  // namespace holdfast::gateway
