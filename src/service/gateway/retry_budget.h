// Bounds how many attempts the gateway adds to what its clients ask for, so that a failing fleet is
// not buried under retries. Loop thread only.
#pragma once

#include <algorithm>

#include "common/base/clock.h"

namespace holdfast::gateway {

// A token bucket: every new exchange deposits `ratio`, time deposits `min_per_second`, a further
// attempt withdraws 1. At most `burst_max` are saved up.
class RetryBudget {
public:
    struct Limits {
        double ratio = 0.1;
        double min_per_second = 10;
        double burst_max = 100;
    };

    RetryBudget(const base::Clock& clock, Limits limits)
        : clock_(clock), limits_(limits), saved_(limits.burst_max), refilled_(clock.now()) {}

    void deposit() { saved_ = std::min(limits_.burst_max, saved_ + limits_.ratio); }

    bool withdraw() {
        refill();
        if (saved_ < 1) return false;
        saved_ -= 1;
        return true;
    }

private:
    void refill() {
        const base::Instant now = clock_.now();
        const double seconds = std::chrono::duration<double>(now - refilled_).count();
        refilled_ = now;
        saved_ = std::min(limits_.burst_max, saved_ + seconds * limits_.min_per_second);
    }

    const base::Clock& clock_;
    Limits limits_;
    double saved_;
    base::Instant refilled_;
};

}  // namespace holdfast::gateway
