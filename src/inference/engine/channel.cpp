#include "inference/engine/channel.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace holdfast::engine {

void Doorbell::ring() {
    {
        const std::lock_guard lock(mutex_);
        ringing_ = true;
    }
    rang_.notify_one();
}

void Doorbell::wait(base::Duration at_most) {
    std::unique_lock lock(mutex_);
    // A bound keeps the sum with the clock's present in range.
    rang_.wait_for(lock, std::min<base::Duration>(at_most, std::chrono::hours(1)),
                   [&] { return ringing_; });
    ringing_ = false;
}

Channel::Channel(std::shared_ptr<Doorbell> doorbell, std::function<void()> wake,
                 std::uint32_t unread_events_max)
    : doorbell_(std::move(doorbell)),
      unread_events_max_(unread_events_max),
      wake_(std::move(wake)) {}

void Channel::push(std::vector<chat::Event>& events) {
    {
        const std::lock_guard lock(mutex_);
        // At least half of the list has been read when the rest moves to its front.
        if (read_ >= events_.size() - read_) {
            events_.erase(events_.begin(), events_.begin() + static_cast<std::ptrdiff_t>(read_));
            read_ = 0;
        }
        events_.insert(events_.end(), std::make_move_iterator(events.begin()),
                       std::make_move_iterator(events.end()));
        if (events_.size() - read_ >= unread_events_max_)
            paused_.store(true, std::memory_order_release);
    }
    events.clear();
    wake();
}

void Channel::fail(base::Error error) {
    {
        const std::lock_guard lock(mutex_);
        error_ = std::move(error);
    }
    wake();
}

base::Result<std::optional<chat::Event>> Channel::next() {
    std::optional<chat::Event> event;
    {
        const std::lock_guard lock(mutex_);
        if (read_ == events_.size()) {
            if (error_) return std::unexpected(*error_);
            return std::nullopt;
        }
        event = std::move(events_[read_++]);
        if (!paused() || events_.size() - read_ > unread_events_max_ / 2) return event;
        paused_.store(false, std::memory_order_release);
    }
    doorbell_->ring();
    return event;
}

void Channel::cancel() {
    {
        const std::lock_guard lock(wake_mutex_);
        wake_ = nullptr;
    }
    cancelled_.store(true, std::memory_order_release);
    doorbell_->ring();
}

void Channel::wake() {
    const std::lock_guard lock(wake_mutex_);
    if (wake_) wake_();
}

}  // namespace holdfast::engine
