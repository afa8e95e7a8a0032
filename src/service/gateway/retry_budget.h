// Bounds how many attempts the gateway adds to what its clients ask for, so that a failing fleet is
// not buried under retries.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>

#include "common/base/clock.h"

namespace holdfast::gateway {

// A token bucket: every new exchange deposits `ratio`, time deposits `min_per_second`, a further
// attempt withdraws 1. At most `burst_max` are saved up. One for all loops; any thread. Nearly
// always it is full, and then a deposit is one relaxed load.
class RetryBudget {
public:
    struct Limits {
        double ratio = 0.1;
        double min_per_second = 10;
        double burst_max = 100;
    };

    RetryBudget(const base::Clock& clock, Limits limits)
        : clock_(clock),
          limits_(limits),
          saved_(micros(limits.burst_max)),
          refilled_(clock.now()) {}

    void deposit() {
        if (saved_.load(std::memory_order_relaxed) >= micros(limits_.burst_max)) return;
        const std::lock_guard lock(mutex_);
        add(micros(limits_.ratio));
    }

    bool withdraw() {
        const std::lock_guard lock(mutex_);
        const base::Instant now = clock_.now();
        const double seconds = std::chrono::duration<double>(now - refilled_).count();
        refilled_ = now;
        add(micros(seconds * limits_.min_per_second));
        const std::int64_t saved = saved_.load(std::memory_order_relaxed);
        if (saved < micros(1)) return false;
        saved_.store(saved - micros(1), std::memory_order_relaxed);
        return true;
    }

private:
    // Attempts in millionths.
    static std::int64_t micros(double attempts) {
        return static_cast<std::int64_t>(std::min(attempts, 1e9) * 1e6);
    }
    void add(std::int64_t more) {
        const std::int64_t saved = saved_.load(std::memory_order_relaxed) + more;
        saved_.store(std::min(saved, micros(limits_.burst_max)), std::memory_order_relaxed);
    }

    const base::Clock& clock_;
    const Limits limits_;
    std::mutex mutex_;                 // of all changes
    std::atomic<std::int64_t> saved_;  // in micros
    base::Instant refilled_;
};

}  // namespace holdfast::gateway
