#include "common/http/stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <cerrno>

namespace holdfast::http {
namespace {

std::unexpected<base::Error> lost(std::string_view what) {
    base::Error error;
    error.code = base::Code::unavailable;
    error.what = what;
    return std::unexpected(std::move(error));
}

}  // namespace

Stream::Stream(loop::Loop& loop, std::shared_ptr<Watchdog> watchdog)
    : watchdog_(std::move(watchdog)),
      executor_(loop.get_executor()),
      poller_(asio::use_service<Poller>(loop)),
      input_(executor_),
      output_(executor_) {}

Stream::~Stream() {
    if (registered_) poller_.remove(*this, socket_.get());
}

base::Result<> Stream::open(base::UniqueFd socket) {
    HF_TRY(poller_.add(*this, socket.get()));
    registered_ = true;
    socket_ = std::move(socket);
    const int on = 1;
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return {};
}

void Stream::ready(std::uint32_t events) {
    const auto alive = shared_from_this();
    constexpr std::uint32_t beyond_bytes = EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR;
    if ((events & beyond_bytes) != 0) more_than_bytes_ = true;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) output_.notify();
    if ((events & (EPOLLIN | beyond_bytes)) == 0) return;
    input_ready_ = true;
    tell_input();
}

void Stream::tell_input() {
    if (!input_ready_ || !is_open()) return;
    if (input_.awaited()) {
        input_.notify();
    } else if (std::exchange(watching_, false)) {
        on_input();
    }
}

// The coroutines that wait here own, in turn, the connection.
void Stream::abandoned() {
    const auto alive = shared_from_this();
    registered_ = false;
    input_.abandon();
    output_.abandon();
}

void Stream::watch_input() {
    watching_ = true;
    if (!input_ready_) return;
    asio::post(executor_, [self = shared_from_this()] { self->tell_input(); });
}

loop::Task<Stream::Wake> Stream::wait_input() {
    expired_ = false;
    if (!input_ready_ && is_open()) {
        const auto [error] = co_await input_.wait();
        if (error) co_return Wake::cancelled;
    }
    co_return expired_ ? Wake::expired : Wake::input;
}

loop::Task<bool> Stream::wait_output() {
    expired_ = false;
    const auto [error] = co_await output_.wait();
    co_return !error && is_open();
}

Stream::Read Stream::read(std::span<char> into) {
    if (!is_open()) return {.ended = true};
    while (true) {
        const ssize_t size = ::recv(socket_.get(), into.data(), into.size(), 0);
        if (size > 0) {
            // Room left over says that nothing else was there, and whatever comes later is
            // reported. Only an end or urgent bytes can hide behind a short read.
            const bool drained = static_cast<std::size_t>(size) < into.size() && !more_than_bytes_;
            if (drained) input_ready_ = false;
            return {.size = static_cast<std::size_t>(size)};
        }
        if (size == 0) return {.ended = true};
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            input_ready_ = false;
            return {.empty = true};
        }
        if (errno != EINTR) return {.ended = true};
    }
}

base::Result<bool> Stream::try_write(std::span<iovec>& parts) {
    while (true) {
        while (!parts.empty() && parts.front().iov_len == 0) parts = parts.subspan(1);
        if (parts.empty()) return true;
        if (!is_open()) return lost("the connection is closed");
        msghdr message{};
        message.msg_iov = parts.data();
        message.msg_iovlen = parts.size();
        const ssize_t sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
            return lost("the connection was lost while sending");
        }
        std::size_t left = static_cast<std::size_t>(sent);
        sent_ += left;
        while (!parts.empty() && left >= parts.front().iov_len) {
            left -= parts.front().iov_len;
            parts = parts.subspan(1);
        }
        if (parts.empty()) return true;
        parts.front().iov_base = static_cast<char*>(parts.front().iov_base) + left;
        parts.front().iov_len -= left;
        return false;  // A short write: the kernel's buffer is full.
    }
}

loop::Task<base::Result<>> Stream::write(std::span<iovec> parts, base::Duration progress) {
    expired_ = false;
    while (true) {
        const auto done = try_write(parts);
        if (!done) co_return std::unexpected(done.error());
        if (*done) break;
        if (progress > base::Duration::zero()) set_deadline(base::Deadline(now() + progress));
        const bool writable = co_await wait_output();
        if (expired_) co_return base::fail(base::Code::deadline, "the peer takes no more bytes");
        if (!writable) co_return base::fail(base::Code::cancelled, "the wait was cancelled");
    }
    if (progress > base::Duration::zero()) clear_deadline();
    co_return base::Result<>();
}

void Stream::expired() {
    const auto alive = shared_from_this();
    expired_ = true;
    if (input_.awaited()) {
        input_.notify();
    } else {
        close();
    }
}

void Stream::shutdown_send() { ::shutdown(socket_.get(), SHUT_WR); }

void Stream::close() {
    if (registered_) poller_.remove(*this, socket_.get());
    registered_ = false;
    socket_.reset();
    clear_deadline();
    input_.notify_later();
    output_.notify_later();
}

void Stream::abort() {
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close();
}

}  // namespace holdfast::http
