// The fleet as clients and balancers see it: OpenAI's list of models, and readiness.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "service/fleet/fleet.h"

namespace holdfast::admin {

// OpenAI's list: every model that some instance has said to serve, each once, in the fleet's order.
// The longest context is there under the names of several servers.
std::string render_models(const fleet::Snapshot& snapshot);
// One entry of it, or nothing if no instance serves that model.
std::optional<std::string> render_model(const fleet::Snapshot& snapshot, std::string_view id);

// {"ready": …, "draining": …, "ready_instances": n, "instances": n, "reasons": ["a: loading", …]}
std::string render_readiness(const fleet::Snapshot& snapshot, bool draining);

}  // namespace holdfast::admin
