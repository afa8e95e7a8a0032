// What one exchange may take: settled once, when its request is parsed, and read everywhere else.
#pragma once

#include <chrono>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/http/message.h"
#include "service/gateway/options.h"

namespace holdfast::gateway {

struct Allowance {
    Timeouts timeouts;
    Pings pings;
    std::uint32_t fruitless_attempts_max = 0;
    // The only absolute limit: of the client's own wish and timeouts.total, whichever is sooner.
    base::Deadline deadline;

    // How often a worker is asked to say that it makes progress while it has nothing else to say,
    // so that no healthy one is taken for silent.
    std::chrono::milliseconds progress_every() const;
};

// invalid where the client's header makes no sense.
base::Result<Allowance> settle_allowance(const Options& options, const http::Headers& headers,
                                         base::Instant arrived);

}  // namespace holdfast::gateway
