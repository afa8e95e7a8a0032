// What connects the engine thread with the readers of streams.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/chat/event.h"

namespace holdfast::engine {

// Lets the engine thread sleep until somebody has news for it. Any thread.
class Doorbell {
public:
    void ring();
    // Returns at once if it rang since the last wait.
    void wait(base::Duration at_most);

private:
    std::mutex mutex_;
    std::condition_variable rang_;
    bool ringing_ = false;
};

// One request's events on their way from the engine thread to one reader thread. Shared by both;
// neither waits for the other longer than a few moves. Bounded: a full channel counts as paused,
// and the engine makes nothing for a paused channel.
class Channel {
public:
    Channel(std::shared_ptr<Doorbell> doorbell, std::function<void()> wake,
            std::uint32_t unread_events_max);

    // Engine thread.
    void push(std::vector<chat::Event>& events);  // takes all of them, leaves the vector empty
    void fail(base::Error error);                 // nothing can be pushed afterwards
    // True from the moment that unread_events_max events wait until the reader is down to half.
    bool paused() const { return paused_.load(std::memory_order_acquire); }
    bool cancelled() const { return cancelled_.load(std::memory_order_acquire); }

    // Reader thread.
    base::Result<std::optional<chat::Event>> next();
    void cancel();  // after it returns, `wake` is not called any more

private:
    void wake();

    const std::shared_ptr<Doorbell> doorbell_;
    const std::uint32_t unread_events_max_;
    std::atomic<bool> paused_ = false, cancelled_ = false;
    std::mutex mutex_;                 // of the three below
    std::vector<chat::Event> events_;  // its memory stays with the stream
    std::size_t read_ = 0;             // of them
    std::optional<base::Error> error_;
    std::mutex wake_mutex_;  // apart, so that a reader woken at once does not meet the engine
    std::function<void()> wake_;
};

}  // namespace holdfast::engine
