// A coroutine waits, anyone on its loop wakes it. No system call, no allocation.
#pragma once

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/post.hpp>
#include <cstddef>
#include <new>
#include <utility>

#include "common/loop/task.h"

namespace holdfast::loop {

// Loop thread only; at most one waiter. The waiter's coroutine is owned by the wait: `abandon`
// destroys it, as destroying the loop does with pending socket operations.
class Wakeup {
public:
    explicit Wakeup(Executor executor) : executor_(std::move(executor)) {}
    Wakeup(const Wakeup&) = delete;
    Wakeup& operator=(const Wakeup&) = delete;
    ~Wakeup() { abandon(); }

    // co_await wakeup.wait(): gives the error operation_aborted if the task was cancelled.
    auto wait() {
        return asio::async_initiate<const decltype(as_result)&, void(boost::system::error_code)>(
            [this](auto handler) { emplace(std::move(handler)); }, as_result);
    }
    bool awaited() const { return waiter_ != nullptr; }
    // Resumes the waiter, if any, before it returns. Only from callbacks of the loop.
    void notify() {
        if (waiter_ != nullptr) std::exchange(waiter_, nullptr)->resume();
    }
    // Resumes the waiter, if any, from the loop. From anywhere on the loop's thread.
    void notify_later() {
        if (waiter_ != nullptr) std::exchange(waiter_, nullptr)->resume_later(executor_, {});
    }
    void abandon() {
        if (waiter_ != nullptr) std::exchange(waiter_, nullptr)->destroy();
    }

private:
    class Waiter {
    public:
        virtual void resume() = 0;
        virtual void resume_later(Executor executor, boost::system::error_code error) = 0;
        virtual void destroy() = 0;

    protected:
        ~Waiter() = default;
    };

    template <class Handler>
    class WaiterOf final : public Waiter {
    public:
        explicit WaiterOf(Handler handler) : handler_(std::move(handler)) {}
        void resume() override {
            Handler handler = take();
            asio::get_associated_cancellation_slot(handler).clear();
            std::move(handler)(boost::system::error_code());
        }
        void resume_later(Executor executor, boost::system::error_code error) override {
            // The slot is cleared late: this may run inside the slot's own handler.
            asio::post(executor, [handler = take(), error]() mutable {
                asio::get_associated_cancellation_slot(handler).clear();
                std::move(handler)(error);
            });
        }
        void destroy() override { take(); }

    private:
        Handler take() {
            Handler handler = std::move(handler_);
            this->~WaiterOf();
            return handler;
        }
        Handler handler_;
    };

    template <class Handler>
    void emplace(Handler handler) {
        static_assert(sizeof(WaiterOf<Handler>) <= sizeof(storage_));
        auto slot = asio::get_associated_cancellation_slot(handler);
        waiter_ = ::new (static_cast<void*>(storage_)) WaiterOf<Handler>(std::move(handler));
        if (slot.is_connected()) {
            slot.assign([this](asio::cancellation_type) {
                if (waiter_ != nullptr) {
                    std::exchange(waiter_, nullptr)
                        ->resume_later(executor_, asio::error::operation_aborted);
                }
            });
        }
    }

    Executor executor_;
    Waiter* waiter_ = nullptr;
    alignas(std::max_align_t) std::byte storage_[64];
};

}  // namespace holdfast::loop
