#include "service/admin/status.h"

#include <chrono>

#include "common/json/writer.h"

namespace holdfast::admin {

namespace {

void write_instance(json::Writer& json, const fleet::Instance& instance) {
    json.begin_object();
    json.string("id", instance.id);
    json.number("pid", instance.pid);
    json.string("url", instance.url.host.empty() ? "" : instance.url.text());
    json.string("model", instance.model);
    json.string("kind", instance.peer.kind->name);
    json.string("state", fleet::name(instance.state));
    json.string("reason", instance.reason);
    json.number("restarts", instance.restarts);
    json.boolean("renders", instance.peer.offer.renders);
    json.boolean("tells_ids", instance.peer.offer.tells_ids);
    json.string("fingerprint", instance.fingerprint);
    json.number("context", instance.context);
    json.number("outstanding",
                instance.load ? instance.load->outstanding.load(std::memory_order_relaxed) : 0U);
    json.number("load", instance.reported_load);
    json.end_object();
}

}  // namespace

std::string render_status(const fleet::Snapshot& snapshot, const ProcessStatus& process) {
    std::string out;
    json::Writer json(out);
    json.begin_object();
    json.string("version", process.version);
    const auto uptime = std::chrono::duration_cast<std::chrono::milliseconds>(process.uptime);
    json.number("uptime_seconds", static_cast<double>(uptime.count()) / 1000.0);
    json.number("pid", process.pid);
    json.key("instances");
    json.begin_array();
    for (const fleet::Instance& instance : snapshot.instances) write_instance(json, instance);
    json.end_array();
    json.end_object();
    return out;
}

}  // namespace holdfast::admin
