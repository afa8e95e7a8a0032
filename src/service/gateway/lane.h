// Everything that one event loop's exchanges share. Loop thread only, but for what says otherwise.
#pragma once

#include <memory>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/http/client.h"
#include "common/http/watchdog.h"
#include "service/gateway/fleet_view.h"
#include "service/gateway/journal.h"
#include "service/gateway/metrics.h"
#include "service/gateway/options.h"
#include "service/gateway/retry_budget.h"

namespace holdfast::gateway {

struct Lane {
    const Options& options;
    const base::Clock& clock;
    base::Entropy& entropy;
    Metrics& metrics;  // any thread
    http::Client& client;
    FleetView& fleet;
    Journal& journal;
    RetryBudget& budget;                    // the whole gateway's
    std::shared_ptr<http::Watchdog> pulse;  // of pings
    RequestCounters counters{metrics};
};

}  // namespace holdfast::gateway
