// An HTTP/1.1 server on one event loop. Several loops accept from the same listening socket.
#pragma once

#include <boost/asio/cancellation_signal.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/unique_fd.h"
#include "common/http/limits.h"
#include "common/http/message.h"
#include "common/loop/task.h"

namespace holdfast::http {

// Sends the answer to one request. Lives as long as the handler's call. Either `send` once, or
// `start`, any number of `write`, `finish`. If the handler returns without finishing a started
// stream, the connection is closed without the terminating chunk, which tells the client that the
// answer is incomplete. Every call after the client has gone fails with Code::cancelled.
class Responder {
public:
    virtual ~Responder() = default;

    // A whole answer: head and body leave in one gathered write.
    virtual loop::Task<base::Result<>> send(Response response) = 0;

    // Head of a streamed answer. Chunked for HTTP/1.1, until close for HTTP/1.0. The head is kept
    // back and leaves with the first `write`, in one gathered write.
    virtual void start(int status, Headers headers) = 0;
    // One chunk. Completes when the kernel has taken it: a slow client pauses the caller here.
    virtual loop::Task<base::Result<>> write(std::string_view bytes) = 0;
    // The terminating chunk; `last` goes before it in the same write.
    virtual loop::Task<base::Result<>> finish(std::string_view last = {}) = 0;
    // One chunk for a client that has nothing to read, such as a comment that keeps the connection
    // alive: may be called while nobody is in `write`, and never waits. What the kernel does not
    // take at once goes before the next write. Does nothing while a write is under way, or while
    // the rest of an earlier one waits.
    virtual void nudge(std::string_view bytes) = 0;

    // Bytes that the kernel has taken for this client's socket since it was accepted, heads and
    // framing included.
    virtual std::uint64_t bytes_sent() const = 0;
    // How the end of the answer is told; none before it has begun.
    virtual Framing framing() const = 0;

    // The client closed its connection (also its sending half) while the answer was under way.
    // When that happens the handler's pending wait is cancelled (asio cancellation, terminal) too;
    // further waits of the handler work as usual, so that it can settle.
    virtual bool client_gone() const = 0;
};

using Handler = std::function<loop::Task<void>(Request request, Responder& responder)>;

// Parse errors are answered by the server itself; this renders their body (an API's error object).
using ErrorBody = std::function<Response(int status, std::string_view reason)>;

// loop::Loop thread only. Stop in two steps: `drain` (no new connections, idle ones closed, answers
// say `Connection: close`), then destroy once `connections()` is 0 or the patience is over.
class Server {
public:
    // `listener` is a listening TCP socket; it is duplicated, so several servers may share it.
    Server(loop::Loop& loop, const base::Clock& clock, int listener, ServerLimits limits,
           Handler handler, ErrorBody error_body);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Makes servers of one listening socket, each on a loop of its own, share out the connections:
    // whichever accepts one gives it to the server that has the fewest. Before any of them starts.
    // None may be destroyed before all have been drained or all their loops have come to rest.
    static void share(std::span<Server* const> servers);

    void start();
    void drain();
    std::size_t connections() const;

private:
    class Impl;
    std::shared_ptr<Impl> impl_;
};

// Binds and listens. `address` is "host:port" (port 0: any free one; IPv6 in brackets) with
// SO_REUSEADDR and a backlog of 1024.
base::Result<base::UniqueFd> listen_tcp(std::string_view address);
// "127.0.0.1:8080" of a bound socket.
std::string local_address(int listener);

}  // namespace holdfast::http
