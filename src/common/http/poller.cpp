#include "common/http/poller.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/assert.h"

namespace holdfast::http {

asio::execution_context::id Poller::id;

Poller::Poller(asio::execution_context& loop)
    : asio::execution_context::service(loop), set_(static_cast<loop::Loop&>(loop).get_executor()) {
    base::UniqueFd set(::epoll_create1(EPOLL_CLOEXEC));
    HF_ASSERT(set);
    set_.assign(set.release());
}

base::Result<> Poller::add(Watcher& watcher, int fd) {
    epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET,
                      .data = {.ptr = &watcher}};
    if (::epoll_ctl(set_.native_handle(), EPOLL_CTL_ADD, fd, &event) != 0) {
        return base::fail(base::Code::unavailable, "a socket cannot be watched: {}",
                          std::strerror(errno));
    }
    watcher.previous_ = nullptr;
    watcher.next_ = std::exchange(first_, &watcher);
    if (watcher.next_ != nullptr) watcher.next_->previous_ = &watcher;
    if (!waiting_) wait();
    return {};
}

// The descriptor is taken out explicitly: a copy of it in another process, between its fork and its
// exec, would keep the registration alive beyond the watcher.
void Poller::remove(Watcher& watcher, int fd) {
    (watcher.previous_ != nullptr ? watcher.previous_->next_ : first_) = watcher.next_;
    if (watcher.next_ != nullptr) watcher.next_->previous_ = watcher.previous_;
    for (epoll_event& event : current_)
        if (event.data.ptr == &watcher) event.data.ptr = nullptr;
    if (!set_.is_open()) return;  // the loop is being destroyed
    ::epoll_ctl(set_.native_handle(), EPOLL_CTL_DEL, fd, nullptr);
    boost::system::error_code ignored;
    if (first_ == nullptr && waiting_) set_.cancel(ignored);
}

void Poller::wait() {
    waiting_ = true;
    set_.async_wait(Descriptor::wait_read, [this](const boost::system::error_code& error) {
        waiting_ = false;
        if (!error) dispatch();
        if (first_ != nullptr && !waiting_) wait();
    });
}

// Under load more comes while events are handled. It is taken at once, because the way through the
// loop's own wait costs three system calls; the bound keeps timers and messages from waiting long.
void Poller::dispatch() {
    std::array<epoll_event, events_at_once> events;
    for (int left = events_at_once; left > 0;) {
        const int count = ::epoll_wait(set_.native_handle(), events.data(), left, 0);
        if (count <= 0) return;
        left -= count;
        current_ = std::span(events).first(static_cast<std::size_t>(count));
        while (!current_.empty()) {
            const epoll_event event = current_.front();
            current_ = current_.subspan(1);
            if (event.data.ptr == nullptr) continue;
            static_cast<Watcher*>(event.data.ptr)->ready(event.events);
        }
    }
}

void Poller::shutdown() {
    boost::system::error_code ignored;
    set_.close(ignored);
    while (first_ != nullptr) {
        Watcher& watcher = *first_;
        first_ = watcher.next_;
        if (first_ != nullptr) first_->previous_ = nullptr;
        watcher.previous_ = watcher.next_ = nullptr;
        watcher.abandoned();
    }
}

}  // namespace holdfast::http
