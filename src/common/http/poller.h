// Readiness of all sockets of one loop. Each socket is registered once, edge-triggered, in an epoll
// set of ours, and the loop waits for that set as for a single file: Asio alone would renew its
// watch with a system call each time that a connection waits.
#pragma once

#include <sys/epoll.h>

#include <boost/asio/execution_context.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <cstdint>
#include <span>

#include "common/base/error.h"
#include "common/base/unique_fd.h"
#include "common/loop/task.h"

namespace holdfast::http {

// loop::Loop thread only. Belongs to its loop (`asio::use_service<Poller>(loop)`) and dies with it.
// While something is registered the loop has work.
class Poller final : public asio::execution_context::service {
public:
    using key_type = Poller;
    static asio::execution_context::id id;

    // Something registered. Must be removed before it or its descriptor goes.
    class Watcher {
    public:
        virtual ~Watcher() = default;

    protected:
        // What epoll reports: a change since the last time, and whatever else holds with it. May
        // add and remove any watcher, and destroy this one.
        virtual void ready(std::uint32_t events) = 0;
        // The loop is being destroyed: what waits here will never be resumed.
        virtual void abandoned() = 0;

    private:
        friend class Poller;
        Watcher* previous_ = nullptr;
        Watcher* next_ = nullptr;
    };

    explicit Poller(asio::execution_context& loop);

    // Reports input, output, the peer's end, urgent bytes, and errors. Code::unavailable when the
    // system's limit of watches is reached.
    base::Result<> add(Watcher& watcher, int fd);
    void remove(Watcher& watcher, int fd);

private:
    using Descriptor = asio::posix::basic_stream_descriptor<loop::Executor>;
    static constexpr int events_at_once = 64;

    void shutdown() override;
    void wait();
    void dispatch();

    Descriptor set_;
    Watcher* first_ = nullptr;        // all watchers
    std::span<epoll_event> current_;  // reported and not yet handed on
    bool waiting_ = false;
};

}  // namespace holdfast::http
