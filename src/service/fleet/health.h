// The judgement on one life of one instance: what probes, reports and the keeper say goes in, a
// state and its reason come out. Pure: time is an argument, nothing waits, nothing is shared.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/upstream/roster.h"
#include "service/fleet/fleet.h"

namespace holdfast::fleet {

// What a probe's answer says of the instance's health.
struct Answer {
    bool ready = false;
    bool draining = false;
    std::string reasons;     // why not ready, for people
    std::uint64_t work = 0;  // running + waiting requests
    // Grows with every bit of work done; absent for servers that do not tell.
    std::optional<std::uint64_t> progress;
};

enum class ProbeFailure {
    silent,       // connected or not, no whole answer in time
    unreachable,  // refused or reset
    garbage,      // an answer that is none: wrong status, wrong JSON
    stuck,        // its front answers, and what is behind it does not
};

struct Verdict {
    State state = State::starting;
    std::string reason;                 // empty when ready
    std::string_view ejected_for = {};  // a stable word for metrics when ejected
    friend bool operator==(const Verdict&, const Verdict&) = default;
};

// One per life. Rules, in the order of their weight:
//  - The keeper's "draining" and "down" settle the matter.
//  - Hung: no answer within `silence_max`, or answers that show work but the same progress for
//    progress_silence_max. A slow answer is an answer, and progress moves several times per layer,
//    so neither a long prefill nor a full batch nor a busy CPU ejects. Two good probes end it.
//  - Lost: an exchange saw its connection break. One probe sent after that ends it.
//  - Unreachable or garbage: until one good probe.
//  - Breaker: sick_max sick outcomes in a row open it for breaker_ms, doubling up to 30 s; the
//    first probe sent after that decides: good puts the instance on trial, where the next sick
//    outcome opens again; bad opens again. An `ok` outcome closes it and forgets.
// All times must come from one monotonic clock.
class Health {
public:
    Health(const HealthOptions& options, base::Duration silence_max);

    // `sent` is when the probe left; answers to probes sent before a loss do not undo it.
    void answered(base::Instant sent, base::Instant now, const Answer& answer);
    void failed(base::Instant sent, base::Instant now, ProbeFailure failure, std::string_view why);
    void reported(base::Instant now, Outcome outcome);
    // `reason`: why there is no process, where that is known.
    void process(upstream::ProcessState state, std::string reason = {}) {
        process_ = state;
        process_why_ = std::move(reason);
    }
    // The observer itself stood still until `now` (a stopped process, a paused machine): silence
    // measured across that time says nothing about the instance.
    void observer_stalled(base::Instant now);

    Verdict verdict() const;
    bool breaker_open() const { return open_until_.has_value(); }
    // True if an `ok` outcome would change anything.
    bool suspect() const { return sick_ > 0 || breaker_open() || open_for_ != options_.breaker_ms; }
    // Said "busy" a moment ago: others are the better choice.
    bool pushed_back(base::Instant now) const { return now < pushed_back_until_; }

private:
    enum class Fault { none, silent, stagnant, unreachable, garbage, lost };

    void set_fault(Fault fault, int good_probes_needed, std::string why);
    bool stagnates(base::Instant now, const Answer& answer);
    void count_sick(base::Instant now);
    void open_breaker(base::Instant now);
    bool on_trial(base::Instant sent) const { return open_until_ && sent >= *open_until_; }
    Verdict fault_verdict() const;
    Verdict answer_verdict() const;

    HealthOptions options_;
    base::Duration silence_max_;
    upstream::ProcessState process_ = upstream::ProcessState::unknown;
    std::string process_why_;

    std::optional<Answer> answer_;  // the last one
    bool ready_once_ = false;
    std::optional<base::Instant> working_since_;  // with answer_'s progress

    Fault fault_ = Fault::none;
    std::string fault_why_;
    int good_probes_needed_ = 0;
    base::Instant lost_at_ = base::Instant::min();
    base::Instant stalled_at_ = base::Instant::min();

    std::uint32_t sick_ = 0;
    std::optional<base::Instant> open_until_;
    std::chrono::milliseconds open_for_;
    base::Instant pushed_back_until_ = base::Instant::min();
};

}  // namespace holdfast::fleet
