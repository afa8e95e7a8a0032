// What `GET /admin/v1/status` tells the command line and the console (docs/protocol.md, section 4).
#pragma once

#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "service/fleet/fleet.h"

namespace holdfast::admin {

struct ProcessStatus {
    std::string_view version;
    base::Duration uptime{};
    int pid = 0;
};

// One JSON object, without a line end. Instances in the snapshot's order. Pure; any thread.
std::string render_status(const fleet::Snapshot& snapshot, const ProcessStatus& process);

}  // namespace holdfast::admin
