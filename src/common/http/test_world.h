// What the tests of this room share: a loop on its own thread, a server on it, raw sockets.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>
#include <charconv>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "common/http/client.h"
#include "common/http/server.h"

namespace holdfast::http::testing {

// A loop that runs on its own thread. `run` waits for a task's result; what an object of the loop
// is asked or told goes through `call`.
class LoopThread {
public:
    LoopThread() : guard_(loop_.get_executor()), thread_([this] { loop_.run(); }) {}
    ~LoopThread() {
        guard_.reset();
        thread_.join();
    }

    loop::Loop& loop() { return loop_; }

    template <class Function>
    auto call(Function function) {
        std::packaged_task<decltype(function())()> task(std::move(function));
        auto result = task.get_future();
        asio::post(loop_, [&task] { task(); });
        return result.get();
    }

    template <class T>
    T run(loop::Task<T> task) {
        return asio::co_spawn(loop_, std::move(task), asio::use_future).get();
    }

private:
    loop::Loop loop_;
    asio::executor_work_guard<loop::Executor> guard_;
    std::thread thread_;
};

// A blocking socket that speaks bytes. Reads give up after ten seconds, which only a bug reaches.
class RawSocket {
public:
    explicit RawSocket(int fd) : fd_(fd) {
        const timeval patience{.tv_sec = 10, .tv_usec = 0};
        ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    }
    static RawSocket connect(std::uint16_t port, int receive_buffer = 0) {
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (receive_buffer > 0) {
            ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
        }
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
        return RawSocket(fd);
    }

    // False once the peer has closed.
    bool send(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (sent <= 0) return false;
            bytes.remove_prefix(sent);
        }
        return true;
    }
    void half_close() { ::shutdown(fd_.get(), SHUT_WR); }
    void close() { fd_.reset(); }
    void reset() {
        const linger now{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        fd_.reset();
    }
    int fd() const { return fd_.get(); }

    enum class End { open, closed, reset, silent };
    // Reads until `wanted` has been seen (it is part of the result) or the peer closes.
    std::string read_until(std::string_view wanted) {
        while (true) {
            const std::size_t at = buffer_.find(wanted);
            if (!wanted.empty() && at != std::string::npos) {
                std::string result = buffer_.substr(0, at + wanted.size());
                buffer_.erase(0, at + wanted.size());
                return result;
            }
            if (!read_more()) return std::exchange(buffer_, {});
        }
    }
    // Everything until the peer closes.
    std::string read_to_end() { return read_until({}); }
    std::string read_exactly(std::size_t size) {
        while (buffer_.size() < size && read_more()) {
        }
        std::string result = buffer_.substr(0, size);
        buffer_.erase(0, result.size());
        return result;
    }
    // One answer with Content-Length: head and body.
    std::string read_answer() {
        std::string answer = read_until("\r\n\r\n");
        const std::size_t at = answer.find("Content-Length: ");
        if (at == std::string::npos) return answer;
        std::size_t size = 0;
        std::from_chars(answer.data() + at + 16, answer.data() + answer.size(), size);
        return answer + read_exactly(size);
    }
    End end() const { return end_; }

private:
    bool read_more() {
        char bytes[16384];
        const ssize_t got = ::recv(fd_.get(), bytes, sizeof(bytes), 0);
        if (got > 0) {
            buffer_.append(bytes, got);
            return true;
        }
        end_ = got == 0 ? End::closed : errno == EAGAIN ? End::silent : End::reset;
        return false;
    }
    base::UniqueFd fd_;
    std::string buffer_;
    End end_ = End::open;
};

inline std::uint16_t port_of(int listener) {
    const std::string address = local_address(listener);
    std::uint16_t port = 0;
    const std::size_t colon = address.rfind(':');
    std::from_chars(address.data() + colon + 1, address.data() + address.size(), port);
    return port;
}

inline Response plain_error(int status, std::string_view reason) {
    Response response;
    response.status = status;
    response.body = reason;
    return response;
}

// A server on a loop of its own. `clock` stands still unless the test moves it.
class TestServer {
public:
    explicit TestServer(Handler handler, ServerLimits limits = {},
                        const char* address = "127.0.0.1:0")
        : listener_(*listen_tcp(address)) {
        thread_.call([&] {
            server_.emplace(thread_.loop(), clock_, listener_.get(), limits, std::move(handler),
                            plain_error);
            server_->start();
        });
    }
    ~TestServer() { stop(); }

    std::uint16_t port() const { return port_of(listener_.get()); }
    RawSocket connect() const { return RawSocket::connect(port()); }
    void advance(base::Duration by) {
        thread_.call([&] { clock_.advance(by); });
    }
    void drain() {
        thread_.call([&] { server_->drain(); });
    }
    void stop() {
        thread_.call([&] { server_.reset(); });
    }
    std::size_t connections() {
        return thread_.call([&] { return server_->connections(); });
    }
    // Waits until the server has closed all but `count`.
    void await_connections(std::size_t count) {
        while (connections() != count) std::this_thread::yield();
    }
    LoopThread& thread() { return thread_; }

private:
    base::UniqueFd listener_;
    base::FakeClock clock_;
    LoopThread thread_;
    std::optional<Server> server_;
};

// Answers with what came: "METHOD path?query body".
inline loop::Task<void> echo(Request request, Responder& responder) {
    Response response;
    response.body = request.method + " " + request.path + "?" + request.query + " " + request.body;
    co_await responder.send(std::move(response));
}

}  // namespace holdfast::http::testing
