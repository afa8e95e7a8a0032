// The small parent process of a service: starts one gateway and the workers, watches, restarts and
// drains them. It parses no HTTP, loads no model and waits for nobody: one thread, one poll() loop.
// docs/protocol.md sections 2 and 3 describe what it and its children say to each other.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/notify.h"
#include "common/base/random.h"
#include "common/base/unique_fd.h"
#include "service/keeper/child.h"
#include "service/keeper/console.h"
#include "service/keeper/notify_socket.h"
#include "service/keeper/options.h"
#include "service/keeper/roster.h"
#include "service/keeper/state_folder.h"

namespace holdfast::keeper {

class Keeper {
public:
    // `listener` is the bound socket that every gateway inherits; `console` takes lines for people.
    static base::Result<std::unique_ptr<Keeper>> make(Options options, StateFolder folder,
                                                      base::UniqueFd listener, int console,
                                                      const base::Clock& clock,
                                                      base::Entropy& entropy);
    ~Keeper();

    // Serves until SIGTERM, SIGINT or SIGHUP and then drains: the gateway ends its running answers,
    // then the workers stop; what is left after limits.drain_max is killed. A second signal kills
    // at once. Returns the exit code. The calling thread must be the process's only one: it blocks
    // these signals and reaps every child.
    int run();

private:
    struct Slot;
    enum class Stage { serving, draining_gateway, draining_workers };

    Keeper(Options options, StateFolder folder, base::UniqueFd listener, NotifySocket notify,
           int console, const base::Clock& clock, base::Entropy& entropy);

    base::Result<> watch_signals();
    void step(base::Instant now);
    void obey(Slot& slot, base::Instant now);
    void start(Slot& slot, base::Instant now);
    base::Result<int> launch_slot(Slot& slot);
    base::UniqueFd open_log(Slot& slot);
    void wait(base::Instant now);
    base::Deadline next_wake() const;
    void read_notifications();
    void read_signals();
    void reap();
    void buried(Slot& slot, int pid, int status);
    void begin_drain();
    void advance_drain(base::Instant now);
    bool all_stopped() const;
    std::string roster() const;
    void announce_if_ready();
    std::string instances_text() const;
    void tick(base::Instant now);
    double jitter();
    template <class... Args>
    void say(fmt::format_string<Args...> format, Args&&... args);
    void warn_once(bool& warned, const std::string& text);

    Options options_;
    StateFolder folder_;
    base::UniqueFd listener_, signals_;
    NotifySocket notify_;
    base::Notifier system_;
    Console console_;
    RosterChannel roster_channel_;
    const base::Clock& clock_;
    base::Entropy& entropy_;
    std::vector<std::unique_ptr<Slot>> slots_;  // the gateway first
    Stage stage_ = Stage::serving;
    bool announced_ = false, log_warned_ = false, full_warned_ = false;
    base::Instant began_{}, tick_at_{};
    base::Duration tick_every_ = std::chrono::seconds(5);
    std::optional<base::Instant> woken_late_;
    int stop_signals_ = 0;
};

}  // namespace holdfast::keeper
