// What the fleet exports. Loop thread only.
#pragma once

#include <string>

#include "common/telemetry/metrics.h"
#include "service/fleet/fleet.h"

namespace holdfast::fleet {

// holdfast_instance_up{instance, model}, holdfast_instance_state{instance, state},
// holdfast_instance_restarts_total{instance}, holdfast_circuit_open{instance},
// holdfast_ejections_total{instance, reason} and holdfast_ready_instances{model}. `instance_up`
// exists once the model is known; what disappears is shown as 0.
class FleetMetrics {
public:
    explicit FleetMetrics(telemetry::Registry& registry) : registry_(registry) {}
    void update(const Snapshot& before, const Snapshot& after);

private:
    void show(const Instance& instance, bool present);
    void set_up(const Instance& instance, bool up);
    void set_ready_instances(const Snapshot& before, const Snapshot& after);

    telemetry::Registry& registry_;
};

}  // namespace holdfast::fleet
