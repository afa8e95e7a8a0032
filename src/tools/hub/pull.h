// `holdfast pull`: a model from a hub to a folder.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "tools/hub/cache.h"
#include "tools/hub/download.h"
#include "tools/hub/hub.h"

namespace holdfast::hub {

struct PullOptions {
    Reference reference;
    std::string to;                    // a folder that does not exist yet; empty: the cache
    std::vector<std::string> include;  // globs instead of what serving needs
    int jobs = 8;
};

struct PullResult {
    Pulled pulled;
    bool was_there = false;  // nothing had to be done
};

// Lists, selects, waits for the lock, downloads what is missing, checks, publishes. Errors say what
// stays for the next attempt.
[[nodiscard]] base::Result<PullResult> pull(const Hub& hub, const PullOptions& options,
                                            const Cache& cache, const Stop& stop,
                                            const Watcher& watcher, const base::Clock& clock);

}  // namespace holdfast::hub
