// All instances with their state. A supervisor on one event loop probes them and takes in the
// keeper's roster; it publishes one immutable Snapshot, which every loop reads.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/http/client.h"
#include "common/telemetry/metrics.h"
#include "common/upstream/kind.h"
#include "service/fleet/options.h"

namespace holdfast::fleet {

enum class State { starting, ready, draining, ejected, down };
std::string_view name(State state);

// Shared by all snapshots that show the same life of an instance. Relaxed atomics, any thread.
struct Load {
    std::atomic<std::uint32_t> outstanding{0};
    std::atomic<std::uint64_t> heard{0};  // grows with every piece of an answer
};

struct Instance {
    std::string id;  // "a", "b", ... or the configured name
    http::Url url;
    upstream::Peer peer;
    std::string model;           // name that clients ask for
    std::string upstream_model;  // name that the instance itself uses
    std::string fingerprint;     // empty for external servers
    std::uint32_t context = 0;   // most tokens of prompt and answer; 0 if unknown
    std::int64_t created = 0;    // when the fleet first heard of the model; seconds since 1970
    State state = State::starting;
    std::string reason;      // why it is not ready, for people
    std::uint64_t life = 0;  // changes with every new process behind this id: fences reports
    int pid = 0;             // 0 for external servers
    std::uint32_t restarts = 0;
    std::uint32_t reported_load = 0;
    double weight = 1.0;       // share of the work relative to the others
    bool pushed_back = false;  // said "busy" a moment ago: take another one if there is one
    bool breaker_open = false;
    std::string_view ejected_for;  // a stable word for metrics, empty unless ejected
    std::shared_ptr<Load> load;

    friend bool operator==(const Instance&, const Instance&) = default;
};

struct Snapshot {
    std::vector<Instance> instances;
};

// What an attempt saw, told to the fleet at once (passive health).
enum class Outcome {
    ok,    // an answer came to its proper end
    sick,  // transport error, 5xx, garbage, silence: counts for the breaker
    lost,  // the connection of a running answer broke: probe at once, no new work until it answers
    busy,  // 429 or 503 with Retry-After: pushes back, is no sickness
};

class Fleet {
public:
    virtual ~Fleet() = default;
    // Any thread; a short lock, never held for work.
    virtual std::shared_ptr<const Snapshot> snapshot() const = 0;
    // Any thread. Reports about an earlier life are ignored.
    virtual void report(const std::string& id, std::uint64_t life, Outcome outcome) = 0;
    // Any thread. `on_change` is called on the fleet's loop with every new snapshot, after
    // snapshot() gives it; it must not block and stays registered for the Fleet's life. Subscribe
    // first and read snapshot() then, and nothing is missed. When the Fleet is destroyed on its
    // loop, no call comes any more; from another thread one may still be under way.
    virtual void subscribe(std::function<void(std::shared_ptr<const Snapshot>)> on_change) = 0;
};

// Runs on `loop` until that stops or the Fleet is destroyed. The loop outlives the Fleet; clock,
// metrics and what the subscribers refer to outlive the loop's last turn. `roster_fd`: the keeper's
// channel (docs/protocol.md), owned from here on, or -1. `on_keeper_gone` is called on the loop
// when that channel ends.
std::unique_ptr<Fleet> make_fleet(loop::Loop& loop, const base::Clock& clock,
                                  std::vector<Target> targets, int roster_fd, HealthOptions options,
                                  telemetry::Registry& metrics,
                                  std::function<void()> on_keeper_gone = {});

}  // namespace holdfast::fleet
