// Everything that one event loop's exchanges share. Loop thread only, but for what says otherwise.
#pragma once

#include "base/clock.h"
#include "base/random.h"
#include "gateway/fleet_view.h"
#include "gateway/journal.h"
#include "gateway/metrics.h"
#include "gateway/options.h"
#include "gateway/retry_budget.h"
#include "http/client.h"

namespace holdfast::gateway {

struct Lane {
    const Options& options;
    const base::Clock& clock;
    base::Entropy& entropy;
    Metrics& metrics;  // any thread
    http::Client& client;
    FleetView& fleet;
    Journal& journal;
    RetryBudget& budget;
    RequestCounters counters{metrics};
};

}  // namespace holdfast::gateway
