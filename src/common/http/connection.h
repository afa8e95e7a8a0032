// One client's connection to the server: reads requests, runs the handler, sends the answers.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/http/parser.h"
#include "common/http/request_reader.h"
#include "common/http/response_head.h"
#include "common/http/server.h"
#include "common/http/stream.h"

namespace holdfast::http {

class Connection;

// What the connections of one server share. loop::Loop thread only; lives until the last
// connection.
struct ServerShared {
    ServerShared(loop::Loop& loop, const base::Clock& clock, ServerLimits limits, Handler handler,
                 ErrorBody error_body);

    const base::Clock& clock;
    ServerLimits limits;
    Handler handler;
    ErrorBody error_body;
    std::shared_ptr<Watchdog> watchdog;
    // Every read goes here first and every head is written here first, so that a connection owns
    // memory only for what is incomplete.
    std::vector<char> read_buffer;
    std::string head_buffer;
    DateLine date_line;
    bool draining = false;
    bool stopped = false;
    std::size_t open = 0;
    Connection* first = nullptr;  // all open connections
    std::function<void()> on_closed;
};

class Connection final : public Stream, public Responder {
public:
    Connection(loop::Loop& loop, std::shared_ptr<ServerShared> shared);
    ~Connection() override;

    // Takes over an accepted, non-blocking socket. False if the loop cannot watch it.
    bool open(base::UniqueFd socket, std::string peer);
    // Serves the connection until it ends. `self` keeps it alive.
    static loop::Task<void> run(std::shared_ptr<Connection> self);
    asio::cancellation_slot cancellation() { return cancel_handler_.slot(); }

    // The server drains: closes the connection if it is idle.
    void drain();
    // The server goes: closes the connection whatever it does.
    void stop();
    Connection* next() const { return next_; }

    // Responder.
    loop::Task<base::Result<>> send(Response response) override;
    void start(int status, Headers headers) override;
    loop::Task<base::Result<>> write(std::string_view bytes) override;
    loop::Task<base::Result<>> finish(std::string_view last) override;
    void nudge(std::string_view bytes) override;
    std::uint64_t bytes_sent() const override { return Stream::bytes_sent(); }
    Framing framing() const override;
    bool client_gone() const override { return client_gone_; }

private:
    // Watches for a client that has left while nothing can be read from it, because the room for
    // pipelined bytes is full.
    class FullInput final : public Watchdog::Entry {
    public:
        explicit FullInput(Connection& connection) : connection_(connection) {}
        void expired() override;

    private:
        Connection& connection_;
    };

    enum class Phase { idle, reading, handling, closing };
    enum class Answer { none, started, finished, broken };

    loop::Task<void> serve();
    loop::Task<bool> read_request();
    bool feed(std::string_view bytes, Refusal& refusal);
    loop::Task<void> refuse(Refusal refusal);
    loop::Task<void> handle();
    loop::Task<void> linger();
    void begin_answer(RequestHead& head);
    void settle_answer();
    void on_input() override;
    void client_left();
    bool keeps_alive() const;
    ConnectionLine connection_line() const;
    loop::Task<base::Result<>> send_rest(std::span<iovec> parts, base::Result<bool> tried);
    base::Result<> check_writable() const;
    std::string take_pending();

    std::shared_ptr<ServerShared> shared_;
    asio::cancellation_signal cancel_handler_;
    std::string peer_;
    RequestReader reader_;
    std::string pipelined_;  // bytes that came after the current request
    FullInput full_input_;
    // Of a started stream: what goes before its next write, the head or the rest of a nudge.
    std::string pending_;
    bool rest_waits_ = false;  // pending_ is the rest of a nudge
    bool writing_ = false;     // a write waits for the client
    Phase phase_ = Phase::idle;
    Answer answer_ = Answer::none;
    bool served_one_ = false;
    bool client_gone_ = false;
    bool keep_alive_ = false;
    bool http_11_ = true;
    bool head_only_ = false;
    bool chunked_ = false;
    bool streamed_ = false;  // this answer was started, not sent whole
    Connection* previous_ = nullptr;
    Connection* next_ = nullptr;
    bool linked_ = false;
};

}  // namespace holdfast::http
