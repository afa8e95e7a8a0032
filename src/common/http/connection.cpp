#include "common/http/connection.h"

#include <poll.h>
#include <spdlog/spdlog.h>

#include <boost/asio/this_coro.hpp>
#include <exception>

namespace holdfast::http {
namespace {

constexpr std::size_t read_bytes = 64 * 1024;
// What a client may send ahead while its request is being answered.
constexpr std::size_t pipelined_bytes_max = 64 * 1024;
constexpr std::chrono::seconds full_input_check{1};
// After an answer that ends the connection early the client may still be sending. Closing at once
// would reset the connection and destroy the answer on its way (RFC 9112, section 9.6).
constexpr std::size_t linger_bytes_max = 64 * 1024 * 1024;
constexpr std::chrono::seconds linger_max{5};
// A connection that was accepted just before the drain may still bring its first request.
constexpr std::chrono::seconds drain_grace{1};

std::unexpected<base::Error> gone() {
    return base::fail(base::Code::cancelled, "the client has closed the connection");
}

}  // namespace

ServerShared::ServerShared(loop::Loop& loop, const base::Clock& clock, ServerLimits limits,
                           Handler handler, ErrorBody error_body)
    : clock(clock),
      limits(limits),
      handler(std::move(handler)),
      error_body(std::move(error_body)),
      watchdog(std::make_shared<Watchdog>(loop, clock)),
      read_buffer(read_bytes) {}

Connection::Connection(loop::Loop& loop, std::shared_ptr<ServerShared> shared)
    : Stream(loop, shared->watchdog),
      shared_(std::move(shared)),
      reader_({shared_->limits.header_bytes_max, shared_->limits.header_fields_max},
              shared_->limits.body_bytes_max),
      full_input_(*this) {}

Connection::~Connection() {
    if (!linked_) return;
    (previous_ != nullptr ? previous_->next_ : shared_->first) = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
    --shared_->open;
    if (shared_->on_closed) shared_->on_closed();
}

bool Connection::open(base::UniqueFd socket, std::string peer) {
    if (!Stream::open(std::move(socket))) return false;
    peer_ = std::move(peer);
    next_ = shared_->first;
    if (next_ != nullptr) next_->previous_ = this;
    shared_->first = this;
    linked_ = true;
    ++shared_->open;
    return true;
}

loop::Task<void> Connection::run(std::shared_ptr<Connection> self) {
    // A cancellation ends the handler's pending wait and nothing else.
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await self->serve();
    self->close();
}

void Connection::drain() {
    if (phase_ != Phase::idle) return;
    if (served_one_) {
        close();
    } else {
        set_deadline(base::Deadline(now() + drain_grace));
    }
}

void Connection::stop() {
    close();
    if (phase_ == Phase::handling) client_left();
}

loop::Task<void> Connection::serve() {
    while (co_await read_request()) {
        co_await handle();
        served_one_ = true;
        if (!keeps_alive()) {
            if (answer_ == Answer::finished) co_await linger();
            co_return;
        }
        if (shared_->draining && pipelined_.empty()) co_return;
    }
}

// Collects one request. False when the connection is over, with a refusal answered.
loop::Task<bool> Connection::read_request() {
    phase_ = Phase::idle;
    bool in_body = false;
    Refusal refusal{0, {}};
    std::string ahead = std::move(pipelined_);
    pipelined_ = std::string();
    if (!feed(ahead, refusal)) {
        co_await refuse(refusal);
        co_return false;
    }
    set_deadline(base::Deadline(now() + shared_->limits.idle_ms_max));
    while (!reader_.complete()) {
        if (reader_.started() && phase_ == Phase::idle) {
            phase_ = Phase::reading;
            set_deadline(base::Deadline(now() + shared_->limits.head_ms_max));
        }
        if (reader_.head_done() && !in_body) {
            in_body = true;
            set_deadline(base::Deadline(now() + shared_->limits.body_ms_max));
            if (reader_.head().expects_continue) {
                const std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";
                iovec parts[] = {part(go_on)};
                if (!co_await Stream::write(parts)) co_return false;
            }
        }
        const Wake wake = co_await wait_input();
        if (!is_open() || wake == Wake::cancelled) co_return false;
        if (wake == Wake::expired) {
            if (phase_ == Phase::idle) co_return false;
            const Refusal late{408, in_body ? "the request body did not arrive in time"
                                            : "the request header did not arrive in time"};
            co_await refuse(late);
            co_return false;
        }
        const Read got = read(shared_->read_buffer);
        if (got.empty) continue;
        if (got.ended) {
            if (!reader_.started()) co_return false;
            const Refusal cut{400, "the request is incomplete"};
            co_await refuse(cut);
            co_return false;
        }
        if (!feed({shared_->read_buffer.data(), got.size}, refusal)) {
            co_await refuse(refusal);
            co_return false;
        }
    }
    clear_deadline();
    co_return true;
}

// Gives the bytes to the reader and keeps what lies behind the request.
bool Connection::feed(std::string_view bytes, Refusal& refusal) {
    const auto taken = reader_.feed(bytes);
    if (!taken) {
        refusal = taken.error();
        return false;
    }
    pipelined_.append(bytes.substr(*taken));
    return true;
}

loop::Task<void> Connection::refuse(Refusal refusal) {
    phase_ = Phase::closing;
    clear_deadline();
    keep_alive_ = false;
    client_gone_ = false;
    http_11_ = true;
    head_only_ = reader_.head().request.method == "HEAD";
    answer_ = Answer::none;
    Response response = shared_->error_body(refusal.status, refusal.reason);
    response.status = refusal.status;
    if (refusal.status == 405)
        response.headers.set("Allow", "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS");
    const auto sent = co_await send(std::move(response));
    if (sent) co_await linger();
}

void Connection::begin_answer(RequestHead& head) {
    phase_ = Phase::handling;
    answer_ = Answer::none;
    streamed_ = false;
    client_gone_ = false;
    // At the limit others may be waiting to be accepted: each answer makes room for one.
    keep_alive_ = head.keep_alive && shared_->open < shared_->limits.connections_max;
    http_11_ = head.http_11;
    head_only_ = head.request.method == "HEAD";
    head.request.peer = peer_;
}

loop::Task<void> Connection::handle() {
    RequestHead head = reader_.take();
    begin_answer(head);
    if (pipelined_.size() < pipelined_bytes_max) {
        watch_input();
    } else {
        watchdog_->watch(full_input_, base::Deadline(now() + full_input_check));
    }
    try {
        co_await shared_->handler(std::move(head.request), *this);
    } catch (const std::exception& error) {
        spdlog::error("a request handler failed: {}", error.what());
    } catch (...) {
        spdlog::error("a request handler failed with an unknown exception");
    }
    if (answer_ == Answer::none && !client_gone_) {
        Response response = shared_->error_body(500, "the server did not answer");
        response.status = 500;
        const auto sent = co_await send(std::move(response));
        if (!sent) answer_ = Answer::broken;
    }
    watchdog_->clear(full_input_);
    phase_ = Phase::closing;
    settle_answer();
}

// Leaves the connection so that the client cannot take a broken answer for a whole one.
void Connection::settle_answer() {
    pending_ = std::string();
    rest_waits_ = false;
    if (answer_ == Answer::finished) return;
    keep_alive_ = false;
    // A chunked stream tells by its missing end that it is incomplete; one that lasts until the
    // connection closes can only tell by a reset.
    if (answer_ == Answer::started && !chunked_ && !head_only_) {
        abort();
    } else {
        close();
    }
}

loop::Task<void> Connection::linger() {
    phase_ = Phase::closing;
    if (!is_open() || client_gone_) co_return;
    shutdown_send();
    set_deadline(base::Deadline(now() + linger_max));
    std::size_t dropped = 0;
    while (dropped < linger_bytes_max) {
        const Read got = read(shared_->read_buffer);
        if (got.ended) co_return;
        dropped += got.size;
        if (!got.empty) continue;
        if (co_await wait_input() != Wake::input) co_return;
    }
}

bool Connection::keeps_alive() const {
    return is_open() && keep_alive_ && answer_ == Answer::finished && !client_gone_;
}

// Something came while the handler runs: the next request, or the news that the client left.
void Connection::on_input() {
    if (phase_ != Phase::handling) return;
    const Read got = read(shared_->read_buffer);
    if (got.ended) {
        client_left();
        return;
    }
    pipelined_.append(shared_->read_buffer.data(), got.size);
    if (pipelined_.size() < pipelined_bytes_max) {
        watch_input();
    } else {
        watchdog_->watch(full_input_, base::Deadline(now() + full_input_check));
    }
}

void Connection::FullInput::expired() {
    if (connection_.phase_ != Phase::handling || !connection_.is_open()) return;
    pollfd poll{.fd = connection_.descriptor(), .events = POLLRDHUP, .revents = 0};
    if (::poll(&poll, 1, 0) > 0) {
        connection_.client_left();
    } else {
        connection_.watchdog_->watch(*this, base::Deadline(connection_.now() + full_input_check));
    }
}

void Connection::client_left() {
    if (std::exchange(client_gone_, true)) return;
    cancel_handler_.emit(asio::cancellation_type::terminal);
}

ConnectionLine Connection::connection_line() const {
    if (!keep_alive_) return ConnectionLine::close;
    return http_11_ ? ConnectionLine::none : ConnectionLine::keep_alive;
}

base::Result<> Connection::check_writable() const {
    if (client_gone_ || !is_open() || answer_ == Answer::broken) return gone();
    return {};
}

}  // namespace holdfast::http
