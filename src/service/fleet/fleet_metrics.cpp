#include "service/fleet/fleet_metrics.h"

#include <algorithm>
#include <array>
#include <map>

namespace holdfast::fleet {

namespace {

constexpr std::array all_states{State::starting, State::ready, State::draining, State::ejected,
                                State::down};

const Instance* find(const Snapshot& snapshot, const std::string& id) {
    const auto found = std::ranges::find(snapshot.instances, id, &Instance::id);
    return found == snapshot.instances.end() ? nullptr : &*found;
}

}  // namespace

void FleetMetrics::update(const Snapshot& before, const Snapshot& after) {
    for (const Instance& old : before.instances) {
        const Instance* now = find(after, old.id);
        if (now == nullptr) show(old, false);
        if (now != nullptr && now->model != old.model) set_up(old, false);
    }
    for (const Instance& instance : after.instances) {
        const Instance* old = find(before, instance.id);
        show(instance, true);
        const bool was_ejected = old != nullptr && old->state == State::ejected;
        if (instance.state == State::ejected && !was_ejected) {
            registry_
                .counter("holdfast_ejections_total", "Instances taken out of rotation.",
                         {{"instance", instance.id}, {"reason", std::string(instance.ejected_for)}})
                .add();
        }
    }
    set_ready_instances(before, after);
}

void FleetMetrics::show(const Instance& instance, bool present) {
    set_up(instance, present && instance.state == State::ready);
    for (const State state : all_states) {
        registry_
            .gauge("holdfast_instance_state", "1 for the state that the instance is in.",
                   {{"instance", instance.id}, {"state", std::string(name(state))}})
            .set(present && instance.state == state ? 1 : 0);
    }
    registry_
        .mirrored_counter("holdfast_instance_restarts_total", "Restarts of the instance.",
                          {{"instance", instance.id}})
        .set(instance.restarts);
    registry_
        .gauge("holdfast_circuit_open", "1 while failures keep the instance out of rotation.",
               {{"instance", instance.id}})
        .set(present && instance.breaker_open ? 1 : 0);
}

void FleetMetrics::set_up(const Instance& instance, bool up) {
    if (instance.model.empty()) return;
    registry_
        .gauge("holdfast_instance_up", "1 while the instance can take requests.",
               {{"instance", instance.id}, {"model", instance.model}})
        .set(up ? 1 : 0);
}

void FleetMetrics::set_ready_instances(const Snapshot& before, const Snapshot& after) {
    std::map<std::string, int> ready;
    for (const Instance& old : before.instances) ready[old.model] += 0;
    for (const Instance& now : after.instances) ready[now.model] += now.state == State::ready;
    for (const auto& [model, count] : ready) {
        if (model.empty()) continue;
        registry_
            .gauge("holdfast_ready_instances", "Instances that can take requests.",
                   {{"model", model}})
            .set(count);
    }
}

}  // namespace holdfast::fleet
