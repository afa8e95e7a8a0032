// Time is passed in, so that tests run without waiting. Time-outs use the monotonic clock only.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace holdfast::base {

using Duration = std::chrono::nanoseconds;
using Instant = std::chrono::time_point<std::chrono::steady_clock, Duration>;

// Thread-safe.
class Clock {
public:
    virtual ~Clock() = default;
    virtual Instant now() const = 0;
    virtual std::int64_t unix_seconds()
        const = 0;  // for `created` fields and logs, never time-outs
};

class SystemClock final : public Clock {
public:
    Instant now() const override { return std::chrono::steady_clock::now(); }
    std::int64_t unix_seconds() const override {
        return std::chrono::duration_cast<std::chrono::seconds>(
                   std::chrono::system_clock::now().time_since_epoch())
            .count();
    }
};

// For tests: stands still until it is moved. One thread.
class FakeClock final : public Clock {
public:
    Instant now() const override { return now_; }
    std::int64_t unix_seconds() const override {
        return now_.time_since_epoch() / std::chrono::seconds(1);
    }
    void advance(Duration by) { now_ += by; }

private:
    Instant now_{std::chrono::hours(1000)};
};

// A point in time by which something must have happened. A value: copy it, combine it. Between
// processes it travels as the time that is left.
class Deadline {
public:
    Deadline() = default;  // never
    explicit Deadline(Instant at) : at_(at) {}
    static Deadline never() { return {}; }
    static Deadline after(const Clock& clock, Duration wait) {
        return Deadline(clock.now() + wait);
    }

    Instant at() const { return at_; }
    bool is_never() const { return at_ == Instant::max(); }
    bool passed(Instant now) const { return now >= at_; }
    Duration left(Instant now) const {
        return is_never() ? Duration::max() : std::max(Duration::zero(), at_ - now);
    }
    Deadline sooner(Deadline other) const { return Deadline(std::min(at_, other.at_)); }

private:
    Instant at_ = Instant::max();
};

}  // namespace holdfast::base
