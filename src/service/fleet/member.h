// One instance as the supervisor keeps it: who it is, which life it lives, how it is. Pure, like
// Health: the supervisor brings time, packets and answers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/base/clock.h"
#include "common/upstream/roster.h"
#include "service/fleet/fleet.h"
#include "service/fleet/health.h"
#include "service/fleet/probe.h"

namespace holdfast::fleet {

// Hands out numbers for lives; one per fleet, so that no two lives ever share one.
class LifeNumbers {
public:
    std::uint64_t next() { return ++last_; }

private:
    std::uint64_t last_ = 0;
};

class Member {
public:
    // A configured target; it may be probed at once.
    Member(Target target, const HealthOptions& options, LifeNumbers& lives);
    // One of the keeper's; follow() tells its address.
    Member(const std::string& id, const HealthOptions& options, LifeNumbers& lives);

    // The keeper's word: a new process or a new address begins a new life.
    void follow(const upstream::RosterEntry& entry);

    // Before each probe: whether the requests that it has are moving.
    void watch_requests(base::Instant now);
    // What to ask, or nothing while there is no process or no address.
    std::optional<ProbeAsk> next_probe() const;
    base::Duration probe_every() const;
    // The outcome of a probe sent at `sent` in `life`; one of an earlier life is dropped. Another
    // instance_life than before, or an external server that answers again after it could not be
    // reached, begins a new life.
    void probed(std::uint64_t life, base::Instant sent, base::Instant now, ProbeResult result);
    // False if the report was about an earlier life.
    bool reported(std::uint64_t life, base::Instant now, Outcome outcome);
    void observer_stalled(base::Instant now) { health_.observer_stalled(now); }

    std::uint64_t life() const { return life_; }
    bool suspect() const { return health_.suspect(); }
    Instance instance(base::Instant now) const;

private:
    void begin_life();
    base::Duration silence_max() const;
    bool is_external() const { return !target_.kind->extended; }
    void learn_models(const std::vector<upstream::ListedModel>& models);
    void answered(base::Instant sent, base::Instant now, Probed probed);

    Target target_;
    HealthOptions options_;
    LifeNumbers& lives_;
    bool kept_ = false;  // by a keeper, which counts restarts
    bool has_address_ = true;
    Health health_;

    std::uint64_t life_ = 0;
    std::shared_ptr<Load> load_;
    int pid_ = 0;       // 0 while there is no process
    int last_pid_ = 0;  // of the last process
    std::uint32_t restarts_ = 0;
    upstream::ProcessState process_ = upstream::ProcessState::unknown;

    // Told by the instance in this life.
    std::string instance_life_, fingerprint_;
    bool models_known_ = false;
    std::optional<upstream::Offer> offer_;
    bool offer_asked_ = false;
    std::uint32_t reported_load_ = 0;
    bool unreached_ = false;  // answered once, could not be reached since
    // Requests whose answers stand still make an instance doubtful until it has shown that it
    // generates.
    std::uint64_t heard_ = 0;
    base::Instant moved_at_ = base::Instant::max();
    bool doubtful_ = false;

    // Outlive the life: a restarting instance still stands for its model.
    std::string model_, upstream_model_;
    std::uint32_t context_ = 0;
};

}  // namespace holdfast::fleet
