// The life of one child process as a pure state machine: events and the time go in, commands come
// out. It knows no system calls, so that it can be tested without processes.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/clock.h"

namespace holdfast::keeper {

struct ChildLimits {
    std::chrono::milliseconds backoff_first{100};
    std::chrono::milliseconds backoff_max{10'000};
    std::chrono::milliseconds backoff_reset{1'000};  // of running: the back-off starts over
    std::chrono::milliseconds silence_max{10'000};   // without WATCHDOG=1 while running
    std::chrono::milliseconds start_max{600'000};
    std::chrono::milliseconds drain_max{30'000};  // for running answers to end
    std::chrono::milliseconds leave_max{3'000};   // to exit once its work has ended
};

// What one sd_notify datagram says.
struct Notification {
    bool ready = false, stopping = false, watchdog = false;
    std::optional<std::string> status;
    std::optional<std::string> listen;
};
// Unknown lines are ignored. Texts come out short and without control characters; an address with
// characters that no address has is dropped.
Notification parse_notification(std::string_view datagram);

enum class Phase {
    waiting,   // not running: starts when the back-off is over
    starting,  // runs, not ready
    running,
    draining,  // told to stop, or stopping by itself
    stopped,   // not running, for good
};

// One child over all its lives. Keeper's thread only.
class Child {
public:
    explicit Child(ChildLimits limits) : limits_(limits) {}

    enum class Command { none, start, terminate, kill };
    // What must be done now; each command is given once. Ask again until it is none.
    Command next(base::Instant now);
    // When next() must be asked again if nothing happens before.
    base::Deadline wake() const;

    // Events. `jitter` in [0, 1) spreads the restarts of children that die together.
    void started(int pid, base::Instant now);
    void heard(const Notification& news, base::Instant now);
    void exited(base::Instant now, double jitter);  // also: could not be started
    // The machine stood still until now: silence before that is nobody's fault.
    void forgive(base::Instant now);
    // Drains and never starts again. SIGKILL follows after `patience`; zero: at once.
    void stop(base::Instant now, base::Duration patience);

    Phase phase() const { return phase_; }
    int pid() const { return pid_; }  // 0 while there is no process
    std::uint32_t restarts() const { return starts_ > 0 ? starts_ - 1 : 0; }
    std::uint32_t deaths() const { return deaths_; }
    const std::string& listen() const { return listen_; }  // empty if unknown
    const std::string& status() const { return status_; }
    // Why the keeper killed it, empty if it did not.
    const std::string& kill_reason() const { return kill_reason_; }
    // The pause before the next start.
    base::Duration pause(base::Instant now) const { return start_at_.left(now); }

private:
    base::Duration next_pause(double jitter);
    bool alive() const { return pid_ != 0; }
    std::string overdue(base::Instant now) const;

    ChildLimits limits_;
    Phase phase_ = Phase::waiting;
    int pid_ = 0;
    std::uint32_t starts_ = 0;
    std::uint32_t deaths_ = 0;
    std::uint32_t quick_deaths_ = 0;  // since it was last healthy for long: sets the back-off
    bool stopping_for_good_ = false;
    bool terminate_due_ = false;
    bool killed_ = false;
    base::Deadline start_at_{base::Instant::min()};
    base::Deadline kill_at_;
    base::Instant last_sign_{};
    std::optional<base::Instant> ready_since_;
    std::string listen_, status_, kill_reason_;
};

}  // namespace holdfast::keeper
