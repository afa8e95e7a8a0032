// A connected, non-blocking byte stream with a deadline and a standing watch on its input. The
// base of the server's and the client's connections; TLS would stand between it and the socket.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "common/base/error.h"
#include "common/base/unique_fd.h"
#include "common/http/poller.h"
#include "common/http/watchdog.h"
#include "common/loop/task.h"
#include "common/loop/wakeup.h"

namespace holdfast::http {

// `bytes` as one part of a gathered write.
inline iovec part(std::string_view bytes) {
    return {.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
}

// loop::Loop thread only. Must be owned by a shared_ptr: events keep it alive while they are
// handled.
//
// Input is watched rather than read: while nothing comes, a connection owns no buffer. The socket
// is registered once, so a request costs one receive and one send and nothing else.
class Stream : public std::enable_shared_from_this<Stream>,
               protected Watchdog::Entry,
               private Poller::Watcher {
public:
    Stream(loop::Loop& loop, std::shared_ptr<Watchdog> watchdog);

    enum class Wake { input, expired, cancelled };
    // Waits until there is something to read: bytes, the end, or an error. There may turn out to be
    // nothing.
    loop::Task<Wake> wait_input();
    // Asks for one call of on_input when something is there that nobody waits for.
    void watch_input();

    struct Read {
        std::size_t size = 0;
        bool ended = false;  // the peer closed or reset
        bool empty = false;  // nothing there now
    };
    Read read(std::span<char> into);

    // Sends as much as the kernel takes and advances `parts`. True when all is sent.
    base::Result<bool> try_write(std::span<iovec>& parts);
    // Sends all. With `progress` set each byte taken moves the deadline on by that much.
    loop::Task<base::Result<>> write(std::span<iovec> parts, base::Duration progress = {});

    void set_deadline(base::Deadline deadline) { watchdog_->watch(*this, deadline); }
    void clear_deadline() { watchdog_->clear(*this); }
    base::Instant now() const { return watchdog_->now(); }

    std::uint64_t bytes_sent() const { return sent_; }  // that the kernel has taken so far
    bool is_open() const { return static_cast<bool>(socket_); }
    bool expired_once() const { return expired_; }
    void shutdown_send();
    void close();
    // Closes with a reset, so that the peer cannot take the end for a proper one.
    void abort();

protected:
    ~Stream() override;
    // Takes over a connected or connecting, non-blocking socket.
    base::Result<> open(base::UniqueFd socket);
    // Waits until the socket takes bytes or has connected. False if cancelled or closed meanwhile.
    loop::Task<bool> wait_output();
    // Something came while nobody was in wait_input. The watch has to be set again by the owner.
    virtual void on_input() {}
    void expired() final;
    int descriptor() const { return socket_.get(); }

    std::shared_ptr<Watchdog> watchdog_;

private:
    void ready(std::uint32_t events) final;
    void abandoned() final;
    void tell_input();

    loop::Executor executor_;
    Poller& poller_;
    base::UniqueFd socket_;
    loop::Wakeup input_;
    loop::Wakeup output_;
    std::uint64_t sent_ = 0;
    bool registered_ = false;
    bool watching_ = false;
    bool input_ready_ = false;      // something has come since a read found nothing
    bool more_than_bytes_ = false;  // the peer's end, an error or urgent bytes have been reported
    bool expired_ = false;
};

}  // namespace holdfast::http
