#include "http/stream.h"

#include <sys/socket.h>

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

// When the loop is destroyed with the watch still set, the waiter's coroutine must go with it:
// it owns, in turn, the connection.
struct Stream::InputHandler {
    explicit InputHandler(std::shared_ptr<Stream> owner) : stream(std::move(owner)) {}
    InputHandler(InputHandler&&) noexcept = default;
    InputHandler& operator=(InputHandler&&) noexcept = default;
    ~InputHandler() {
        if (stream) stream->wakeup_.abandon();
    }
    void operator()(boost::system::error_code error) {
        std::exchange(stream, nullptr)->input_came(error.failed());
    }
    std::shared_ptr<Stream> stream;
};

Stream::Stream(Loop& loop, std::shared_ptr<Watchdog> watchdog)
    : socket_(loop.get_executor()), watchdog_(std::move(watchdog)), wakeup_(loop.get_executor()) {}

void Stream::watch_input() {
    if (watching_ || !socket_.is_open()) return;
    watching_ = true;
    input_ready_ = false;
    socket_.async_wait(Socket::wait_read, InputHandler(shared_from_this()));
}

void Stream::input_came(bool aborted) {
    watching_ = false;
    if (!aborted) input_ready_ = true;
    const auto alive = shared_from_this();
    if (wakeup_.awaited()) {
        wakeup_.notify();
    } else if (!aborted) {
        on_input();
    }
}

Task<Stream::Wake> Stream::wait_input() {
    expired_ = false;
    if (!input_ready_ && socket_.is_open()) {
        watch_input();
        const auto [error] = co_await wakeup_.wait();
        if (error) co_return Wake::cancelled;
    }
    input_ready_ = false;
    co_return expired_ ? Wake::expired : Wake::input;
}

Stream::Read Stream::read(std::span<char> into) {
    if (!socket_.is_open()) return {.ended = true};
    while (true) {
        const ssize_t size = ::recv(socket_.native_handle(), into.data(), into.size(), 0);
        if (size > 0) return {.size = static_cast<std::size_t>(size)};
        if (size == 0) return {.ended = true};
        if (errno == EAGAIN || errno == EWOULDBLOCK) return {.empty = true};
        if (errno != EINTR) return {.ended = true};
    }
}

base::Result<bool> Stream::try_write(std::span<iovec>& parts) {
    while (true) {
        while (!parts.empty() && parts.front().iov_len == 0) parts = parts.subspan(1);
        if (parts.empty()) return true;
        if (!socket_.is_open()) return lost("the connection is closed");
        msghdr message{};
        message.msg_iov = parts.data();
        message.msg_iovlen = parts.size();
        const ssize_t sent = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
            return lost("the connection was lost while sending");
        }
        std::size_t left = static_cast<std::size_t>(sent);
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

Task<base::Result<>> Stream::write(std::span<iovec> parts, base::Duration progress) {
    expired_ = false;
    while (true) {
        const auto done = try_write(parts);
        if (!done) co_return std::unexpected(done.error());
        if (*done) break;
        if (progress > base::Duration::zero()) set_deadline(base::Deadline(now() + progress));
        const auto [error] = co_await socket_.async_wait(Socket::wait_write, as_result);
        if (expired_) co_return base::fail(base::Code::deadline, "the peer takes no more bytes");
        if (error) co_return base::fail(base::Code::cancelled, "the wait was cancelled");
    }
    if (progress > base::Duration::zero()) clear_deadline();
    co_return base::Result<>();
}

void Stream::expired() {
    const auto alive = shared_from_this();
    expired_ = true;
    if (wakeup_.awaited()) {
        wakeup_.notify();
    } else {
        close();
    }
}

void Stream::shutdown_send() {
    boost::system::error_code ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
}

void Stream::close() {
    boost::system::error_code ignored;
    socket_.close(ignored);
    clear_deadline();
    // A coroutine that waits for input is woken by the aborted watch.
}

void Stream::abort() {
    boost::system::error_code ignored;
    socket_.set_option(asio::socket_base::linger(true, 0), ignored);
    close();
}

}  // namespace holdfast::http
