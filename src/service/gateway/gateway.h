// The gateway process: one event loop per core, all accepting from one socket; a supervisor loop
// for the fleet. docs/protocol.md section 4 lists the routes.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "common/base/error.h"
#include "common/base/unique_fd.h"
#include "common/telemetry/metrics.h"
#include "service/gateway/options.h"

namespace holdfast::gateway {

// Runs threads of its own between start and destruction.
class Gateway {
public:
    // `listener` is a listening TCP socket; `roster_fd` the keeper's channel or -1.
    Gateway(Options options, base::UniqueFd listener, int roster_fd, telemetry::Registry& registry);
    ~Gateway();
    Gateway(const Gateway&) = delete;
    Gateway& operator=(const Gateway&) = delete;

    void start();
    // No new connections; readiness is withdrawn. Any thread.
    void drain();
    // Client connections that are still open. Any thread.
    std::size_t connections() const;
    // Called on every loop in turn; true when all of them ran it since the last call. Any thread:
    // the watchdog's question.
    bool loops_answer();
    bool ready() const;  // some instance is ready

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

// The command `holdfast gateway`: takes an inherited listening socket and roster where there are
// any, serves until SIGTERM or SIGINT, drains, and returns. A second signal ends it at once.
base::Result<> run(Options options);

}  // namespace holdfast::gateway
