#include "service/fleet/fleet.h"

#include <utility>

#include "service/fleet/probe.h"
#include "service/fleet/supervisor.h"

namespace holdfast::fleet {

std::unique_ptr<Fleet> make_fleet(loop::Loop& loop, const base::Clock& clock,
                                  std::vector<Target> targets, int roster_fd, HealthOptions options,
                                  telemetry::Registry& metrics,
                                  std::function<void()> on_keeper_gone) {
    FleetWorld world{loop,
                     clock,
                     metrics,
                     make_http_prober(loop, clock),
                     base::UniqueFd(roster_fd),
                     std::move(on_keeper_gone)};
    return make_fleet(std::move(world), std::move(targets), options);
}

}  // namespace holdfast::fleet
