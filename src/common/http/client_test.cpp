#include "common/http/client.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>

#include "common/http/test_world.h"

namespace holdfast::http {
namespace {

using testing::LoopThread;
using testing::RawSocket;
using testing::TestServer;

struct Answer {
    int status = 0;
    std::string body;
};

loop::Task<base::Result<Answer>> fetch(Client& client, Url url, ClientRequest request) {
    ClientDeadlines deadlines;
    auto exchange = co_await client.send(std::move(url), std::move(request), deadlines);
    if (!exchange) co_return std::unexpected(exchange.error());
    auto body = co_await (*exchange)->read_all(base::Deadline::never());
    if (!body) co_return std::unexpected(body.error());
    Answer answer;
    answer.status = (*exchange)->status();
    answer.body = *std::move(body);
    co_return answer;
}

class ClientTest : public ::testing::Test {
protected:
    ClientTest() {
        thread_.call([&] { client_.emplace(thread_.loop(), clock_); });
    }
    ~ClientTest() override {
        thread_.call([&] { client_.reset(); });
    }
    base::Result<Answer> fetch_from(std::uint16_t port, ClientRequest request) {
        Url url;
        url.host = "127.0.0.1";
        url.port = port;
        return thread_.run(fetch(*client_, url, std::move(request)));
    }

    base::SystemClock clock_;
    LoopThread thread_;
    std::optional<Client> client_;
};

TEST_F(ClientTest, SendsARequestAndReadsTheWholeAnswer) {
    TestServer server(testing::echo);
    ClientRequest request;
    request.method = "POST";
    request.path = "/a/b?c=d";
    request.body = std::string(300'000, 'x');
    for (int i = 0; i < 3; ++i) {
        const auto answer = fetch_from(server.port(), request);
        ASSERT_TRUE(answer) << answer.error().what;
        EXPECT_EQ(answer->status, 200);
        EXPECT_EQ(answer->body, "POST /a/b?c=d " + request.body);
    }
    EXPECT_EQ(server.connections(), 1) << "the connection is kept and used again";
}

// Accepts one connection after another on its own thread and speaks a script: it reads a
// request's head, sends the bytes, and closes or waits for the client to close.
class ScriptedPeer {
public:
    struct Part {
        std::string bytes;
        bool close = true;
    };
    explicit ScriptedPeer(std::vector<Part> parts)
        : listener_(*listen_tcp("127.0.0.1:0")), port_(testing::port_of(listener_.get())) {
        thread_ = std::thread([this, parts = std::move(parts)] { speak(parts); });
    }
    ~ScriptedPeer() { thread_.join(); }
    std::uint16_t port() const { return port_; }

private:
    void speak(const std::vector<Part>& parts) {
        std::optional<RawSocket> socket;
        const int flags = ::fcntl(listener_.get(), F_GETFL);
        ::fcntl(listener_.get(), F_SETFL, flags & ~O_NONBLOCK);
        for (const Part& part : parts) {
            if (!socket) socket.emplace(::accept(listener_.get(), nullptr, nullptr));
            socket->read_until("\r\n\r\n");
            socket->send(part.bytes);
            if (part.close) socket.reset();
        }
        if (socket) socket->read_to_end();
    }
    base::UniqueFd listener_;
    std::uint16_t port_;
    std::thread thread_;
};

TEST_F(ClientTest, TakesNoCutAnswerForAWholeOne) {
    for (const std::string answer : {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                                     "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                                     "chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"}) {
        std::vector<ScriptedPeer::Part> parts;
        for (std::size_t cut = 0; cut <= answer.size(); ++cut) {
            parts.push_back({answer.substr(0, cut)});
        }
        ScriptedPeer peer(parts);
        for (std::size_t cut = 0; cut < answer.size(); ++cut) {
            const auto cut_short = fetch_from(peer.port(), ClientRequest());
            ASSERT_FALSE(cut_short) << "cut at " << cut;
            EXPECT_EQ(cut_short.error().code, base::Code::unavailable);
            EXPECT_EQ(cut_short.error().origin, base::Origin::instance);
        }
        const auto whole = fetch_from(peer.port(), ClientRequest());
        ASSERT_TRUE(whole) << whole.error().what;
        EXPECT_EQ(whole->body, "hello");
    }
}

TEST_F(ClientTest, ReadsABodyThatLastsUntilTheConnectionCloses) {
    ScriptedPeer peer({{"HTTP/1.0 200 OK\r\n\r\nhello"}});
    const auto answer = fetch_from(peer.port(), ClientRequest());
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, "hello");
}

TEST_F(ClientTest, SkipsInformationalAnswers) {
    ScriptedPeer peer(
        {{"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
          "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"}});
    const auto answer = fetch_from(peer.port(), ClientRequest());
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 404);
    EXPECT_EQ(answer->body, "no");
}

TEST_F(ClientTest, CallsGarbageUnavailable) {
    for (const std::string garbage :
         {"+PONG\r\n\r\n", "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
          "HTTP/1.1 101 Switching Protocols\r\n\r\n"}) {
        ScriptedPeer peer({{garbage}});
        const auto answer = fetch_from(peer.port(), ClientRequest());
        ASSERT_FALSE(answer) << garbage;
        EXPECT_EQ(answer.error().code, base::Code::unavailable);
        EXPECT_EQ(answer.error().origin, base::Origin::instance);
    }
}

const std::string kept_answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

TEST_F(ClientTest, ReplacesAStaleConnectionOnceAndSilently) {
    // The second request reaches a peer that closes without a word; the third part answers it on
    // a fresh connection.
    ScriptedPeer peer({{kept_answer, false}, {""}, {kept_answer}});
    EXPECT_TRUE(fetch_from(peer.port(), ClientRequest()));
    const auto answer = fetch_from(peer.port(), ClientRequest());
    ASSERT_TRUE(answer) << answer.error().what;
    EXPECT_EQ(answer->body, "ok");
}

TEST_F(ClientTest, DoesNotRepeatARequestThatHasBeenHeard) {
    ScriptedPeer peer({{kept_answer, false}, {"HTTP/1.1 2"}});
    EXPECT_TRUE(fetch_from(peer.port(), ClientRequest()));
    const auto answer = fetch_from(peer.port(), ClientRequest());
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, base::Code::unavailable);
}

TEST_F(ClientTest, DoesNotReuseAConnectionThatSaidTooMuch) {
    ScriptedPeer peer({{kept_answer + "HTTP/1.1 200 OK\r\n", false}});
    EXPECT_TRUE(fetch_from(peer.port(), ClientRequest()));
    // The peer's thread ends only when the client has closed.
}

TEST_F(ClientTest, SaysThatNobodyListens) {
    std::uint16_t port = 0;
    {
        const auto listener = listen_tcp("127.0.0.1:0");
        port = testing::port_of(listener->get());
    }
    const auto answer = fetch_from(port, ClientRequest());
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, base::Code::unavailable);
    EXPECT_EQ(answer.error().origin, base::Origin::instance);
}

TEST_F(ClientTest, RefusesARequestThatWouldSplit) {
    ClientRequest request;
    request.path = "/a b";
    EXPECT_EQ(fetch_from(1, request).error().code, base::Code::invalid);
    request.path = "/";
    request.headers.add("X-A", "b\r\nX-B: c");
    EXPECT_EQ(fetch_from(1, request).error().code, base::Code::invalid);
}

loop::Task<base::Result<Answer>> fetch_in_time(Client& client, Url url, base::Deadline head,
                                               base::Deadline body) {
    ClientDeadlines deadlines;
    deadlines.response_head = head;
    ClientRequest request;
    auto exchange = co_await client.send(std::move(url), std::move(request), deadlines);
    if (!exchange) co_return std::unexpected(exchange.error());
    auto text = co_await (*exchange)->read_all(body);
    if (!text) co_return std::unexpected(text.error());
    co_return Answer();
}

TEST_F(ClientTest, GivesUpAtItsDeadlines) {
    const base::Deadline passed(clock_.now());
    Url url;
    url.host = "127.0.0.1";
    {
        ScriptedPeer peer({{"HTTP/1.1 200 OK\r\nContent-", false}});
        url.port = peer.port();
        const auto late = thread_.run(fetch_in_time(
            *client_, url, base::Deadline::after(clock_, std::chrono::milliseconds(200)), {}));
        ASSERT_FALSE(late);
        EXPECT_EQ(late.error().code, base::Code::deadline);
        EXPECT_EQ(late.error().origin, base::Origin::instance);
    }
    ScriptedPeer peer({{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nh", false}});
    url.port = peer.port();
    const auto late = thread_.run(fetch_in_time(*client_, url, base::Deadline::never(), passed));
    ASSERT_FALSE(late);
    EXPECT_EQ(late.error().code, base::Code::deadline);
}

loop::Task<void> report(Client& client, Url url, std::promise<base::Result<Answer>>& result) {
    co_await asio::this_coro::throw_if_cancelled(false);
    ClientRequest request;
    auto answer = co_await fetch(client, std::move(url), std::move(request));
    result.set_value(std::move(answer));
}

TEST_F(ClientTest, EndsItsWaitWhenTheTaskIsCancelledAndClosesAtOnce) {
    for (const std::string said : {"", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nh"}) {
        const auto listener = listen_tcp("127.0.0.1:0");
        const int flags = ::fcntl(listener->get(), F_GETFL);
        ::fcntl(listener->get(), F_SETFL, flags & ~O_NONBLOCK);
        Url url;
        url.host = "127.0.0.1";
        url.port = testing::port_of(listener->get());
        std::promise<base::Result<Answer>> result;
        asio::cancellation_signal cancel;
        thread_.call([&] {
            asio::co_spawn(thread_.loop(), report(*client_, url, result),
                           asio::bind_cancellation_slot(cancel.slot(), [](std::exception_ptr) {}));
        });
        RawSocket peer(::accept(listener->get(), nullptr, nullptr));
        peer.read_until("\r\n\r\n");
        peer.send(said);
        thread_.call([&] { cancel.emit(asio::cancellation_type::terminal); });
        const auto answer = result.get_future().get();
        ASSERT_FALSE(answer);
        EXPECT_EQ(answer.error().code, base::Code::cancelled);
        EXPECT_EQ(peer.read_to_end(), "");
        EXPECT_NE(peer.end(), RawSocket::End::silent) << "the client closes at once";
    }
}

TEST_F(ClientTest, ClosesConnectionsThatAreForgotten) {
    ScriptedPeer peer({{kept_answer, false}});
    EXPECT_TRUE(fetch_from(peer.port(), ClientRequest()));
    Url url;
    url.host = "127.0.0.1";
    url.port = peer.port();
    thread_.call([&] { client_->forget(url); });
    // The peer's thread ends only when the client has closed.
}

TEST_F(ClientTest, LooksUpNamesAndSaysWhichIsUnknown) {
    TestServer server(testing::echo);
    Url url;
    url.host = "localhost";
    url.port = server.port();
    EXPECT_TRUE(thread_.run(fetch(*client_, url, ClientRequest())));
    url.host = "no-such-host.invalid";
    const auto unknown = thread_.run(fetch(*client_, url, ClientRequest()));
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, base::Code::unavailable);
    EXPECT_TRUE(unknown.error().what.contains("no-such-host.invalid")) << unknown.error().what;
}

// What is lost or used too late the address sanitizer reports; that nothing stays open is seen
// here.
TEST(ClientLifetime, ALoopThatIsDestroyedWithAllItsWaitsClosesTheirConnections) {
    const auto listener = listen_tcp("127.0.0.1:0");
    const base::SystemClock clock;
    std::promise<base::Result<Answer>> result;
    {
        loop::Loop loop;
        Client client(loop, clock);
        Url url;
        url.host = "127.0.0.1";
        url.port = testing::port_of(listener->get());
        asio::co_spawn(loop, report(client, url, result), [](std::exception_ptr) {});
        // The request is sent and nobody accepts it.
        for (int i = 0; i < 10; ++i) loop.poll_one();
    }
    EXPECT_EQ(result.get_future().wait_for(std::chrono::seconds(0)), std::future_status::timeout)
        << "the request has an answer";
    RawSocket peer(::accept(listener->get(), nullptr, nullptr));
    EXPECT_TRUE(peer.read_to_end().starts_with("GET "));
    EXPECT_NE(peer.end(), RawSocket::End::silent);
}

}  // namespace
}  // namespace holdfast::http
