#include "service/admin/models.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "common/dialect/models.h"
#include "common/json/writer.h"

namespace holdfast::admin {

namespace {

// The first instance of each model.
std::vector<const fleet::Instance*> models(const fleet::Snapshot& snapshot) {
    std::vector<const fleet::Instance*> found;
    for (const fleet::Instance& instance : snapshot.instances) {
        const bool known = std::ranges::any_of(
            found, [&](const fleet::Instance* other) { return other->model == instance.model; });
        if (!instance.model.empty() && !known) found.push_back(&instance);
    }
    return found;
}

dialect::ModelCard card_of(const fleet::Instance& instance) {
    return {.id = instance.model, .created = instance.created, .context = instance.context};
}

}  // namespace

std::string render_models(const fleet::Snapshot& snapshot) {
    std::vector<dialect::ModelCard> cards;
    for (const fleet::Instance* instance : models(snapshot)) cards.push_back(card_of(*instance));
    return dialect::render_models(cards);
}

std::optional<std::string> render_model(const fleet::Snapshot& snapshot, std::string_view id) {
    for (const fleet::Instance* instance : models(snapshot))
        if (instance->model == id) return dialect::render_model(card_of(*instance));
    return std::nullopt;
}

std::string render_readiness(const fleet::Snapshot& snapshot, bool draining) {
    const auto ready =
        std::ranges::count(snapshot.instances, fleet::State::ready, &fleet::Instance::state);
    std::string out;
    json::Writer json(out);
    json.begin_object();
    json.boolean("ready", !draining && ready > 0);
    json.boolean("draining", draining);
    json.number("ready_instances", ready);
    json.number("instances", snapshot.instances.size());
    json.key("reasons");
    json.begin_array();
    if (draining) json.string("the gateway is draining");
    for (const fleet::Instance& instance : snapshot.instances)
        if (instance.state != fleet::State::ready)
            json.string(fmt::format("{}: {}{}{}", instance.id, name(instance.state),
                                    instance.reason.empty() ? "" : ", ", instance.reason));
    json.end_array();
    json.end_object();
    return out;
}

}  // namespace holdfast::admin
