// The fleet's engine room, with the world passed in: tests bring a prober and a clock of their own.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "common/base/unique_fd.h"
#include "service/fleet/fleet.h"
#include "service/fleet/probe.h"

namespace holdfast::fleet {

struct FleetWorld {
    loop::Loop& loop;
    const base::Clock& clock;
    telemetry::Registry& metrics;
    std::unique_ptr<Prober> prober;
    base::UniqueFd roster;                 // or none
    std::function<void()> on_keeper_gone;  // or none
};

std::unique_ptr<Fleet> make_fleet(FleetWorld world, std::vector<Target> targets,
                                  HealthOptions options);

}  // namespace holdfast::fleet
