// All I/O deadlines of one loop behind one coarse timer: setting a deadline is a store, no system
// call. Deadlines are kept in time of the passed clock and checked every `tick` of real time, so
// they fire up to a tick late, never early.
#pragma once

#include <boost/asio/basic_waitable_timer.hpp>
#include <chrono>
#include <memory>

#include "common/base/clock.h"
#include "common/loop/task.h"

namespace holdfast::http {

// loop::Loop thread only. Owned by shared_ptr, because the timer's handler outlives a Server or
// Client.
class Watchdog : public std::enable_shared_from_this<Watchdog> {
public:
    static constexpr std::chrono::milliseconds tick{50};

    // Something with a deadline. Leaves the list when destroyed.
    class Entry {
    public:
        Entry() = default;
        Entry(const Entry&) = delete;
        Entry& operator=(const Entry&) = delete;
        virtual ~Entry() { unlink(); }

    protected:
        // The deadline has passed; it has been cleared. May set a new one or destroy the entry.
        virtual void expired() = 0;

    private:
        friend class Watchdog;
        void unlink() {
            if (next_ == nullptr) return;
            previous_->next_ = next_;
            next_->previous_ = previous_;
            next_ = previous_ = nullptr;
        }
        Entry* previous_ = nullptr;
        Entry* next_ = nullptr;
        base::Instant at_ = base::Instant::max();
    };

    Watchdog(loop::Loop& loop, const base::Clock& clock);
    ~Watchdog();

    void watch(Entry& entry, base::Deadline deadline);
    void clear(Entry& entry) { entry.at_ = base::Instant::max(); }
    base::Instant now() const { return clock_.now(); }
    // No further ticks, so that the loop can run out of work.
    void stop();

private:
    class Anchor final : public Entry {
        void expired() override {}
    };

    void schedule();
    void check();

    const base::Clock& clock_;
    asio::basic_waitable_timer<std::chrono::steady_clock,
                               asio::wait_traits<std::chrono::steady_clock>, loop::Executor>
        timer_;
    Anchor anchor_;                                  // head of a circular list
    base::Instant earliest_ = base::Instant::max();  // no entry expires before this
    bool ticking_ = false;
    bool stopped_ = false;
};

}  // namespace holdfast::http
