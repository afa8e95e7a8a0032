// A connected, non-blocking byte stream with a deadline and a standing watch on its input. The
// base of the server's and the client's connections; TLS would stand between it and the socket.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/error.h"
#include "http/task.h"
#include "http/wakeup.h"
#include "http/watchdog.h"

namespace holdfast::http {

// `bytes` as one part of a gathered write.
inline iovec part(std::string_view bytes) {
    return {.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
}

// Loop thread only. Must be owned by a shared_ptr: pending operations keep it alive.
//
// Input is watched rather than read: while nothing comes, a connection owns no buffer. The watch
// that was set while a request is handled or a connection lies idle also serves the next read,
// so a request costs one receive, one send, and one renewal of the watch.
class Stream : public std::enable_shared_from_this<Stream>, protected Watchdog::Entry {
public:
    Stream(Loop& loop, std::shared_ptr<Watchdog> watchdog);

    enum class Wake { input, expired, cancelled };
    // Waits until there is something to read: bytes, the end, or an error.
    Task<Wake> wait_input();
    // Sets the watch if it is not set: on_input is called when something comes unawaited.
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
    Task<base::Result<>> write(std::span<iovec> parts, base::Duration progress = {});

    void set_deadline(base::Deadline deadline) { watchdog_->watch(*this, deadline); }
    void clear_deadline() { watchdog_->clear(*this); }
    base::Instant now() const { return watchdog_->now(); }

    bool is_open() const { return socket_.is_open(); }
    bool expired_once() const { return expired_; }
    void shutdown_send();
    void close();
    // Closes with a reset, so that the peer cannot take the end for a proper one.
    void abort();

protected:
    ~Stream() override = default;
    // Something came while nobody was in wait_input. The watch has to be set again by the owner.
    virtual void on_input() {}
    void expired() final;

    Socket socket_;
    std::shared_ptr<Watchdog> watchdog_;

private:
    struct InputHandler;
    void input_came(bool aborted);

    Wakeup wakeup_;
    bool watching_ = false;
    bool input_ready_ = false;
    bool expired_ = false;
};

}  // namespace holdfast::http
