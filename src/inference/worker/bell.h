// Wakes one coroutine of a loop from any thread.
#pragma once

#include <atomic>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <memory>

#include "common/base/clock.h"
#include "common/loop/task.h"

namespace holdfast::worker {

// One waiter, on the loop's thread. Shared: whoever rings keeps it alive. Rings that nobody has
// waited for count as one.
class Bell : public std::enable_shared_from_this<Bell> {
public:
    explicit Bell(const loop::Executor& executor) : timer_(executor) {}

    // Any thread; cheap when it has been rung already.
    void ring() {
        if (rung_.exchange(true, std::memory_order_acq_rel)) return;
        asio::post(timer_.get_executor(), [self = shared_from_this()] { self->timer_.cancel(); });
    }

    // Until it rings, `longest` has passed, or the task is cancelled; perhaps earlier.
    loop::Task<void> wait(base::Duration longest) {
        if (!rung_.load(std::memory_order_acquire)) {
            timer_.expires_after(longest);
            co_await timer_.async_wait(loop::as_result);
        }
        rung_.store(false, std::memory_order_release);
    }

private:
    using Timer =
        asio::basic_waitable_timer<std::chrono::steady_clock,
                                   asio::wait_traits<std::chrono::steady_clock>, loop::Executor>;
    std::atomic<bool> rung_{false};
    Timer timer_;
};

}  // namespace holdfast::worker
