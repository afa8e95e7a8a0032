#include "common/http/server.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>

#include "common/http/parser.h"
#include "common/http/refused_requests.h"
#include "common/http/test_world.h"
#include "common/loop/sleep.h"

namespace holdfast::http {
namespace {

using namespace std::chrono_literals;
using testing::echo;
using testing::RawSocket;
using testing::TestServer;

const std::string get = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

int status_of(std::string_view answer) {
    return answer.size() < 12 ? 0 : std::stoi(std::string(answer.substr(9, 3)));
}

ServerLimits small_limits() {
    ServerLimits limits;
    limits.body_bytes_max = 1000;
    return limits;
}

TEST(Server, RefusesEveryRequestOfTheTableAndClosesAndServesTheNext) {
    TestServer server(echo, small_limits());
    for (const auto& row : testing::refused_requests()) {
        SCOPED_TRACE(row.what);
        RawSocket client = server.connect();
        client.send(row.bytes);
        for (std::size_t i = 0; i < row.served_before; ++i) {
            EXPECT_EQ(status_of(client.read_answer()), 200);
        }
        const std::string answer = client.read_to_end();
        EXPECT_EQ(status_of(answer), row.status) << answer;
        EXPECT_TRUE(answer.contains("Connection: close\r\n"));
        EXPECT_EQ(client.end(), RawSocket::End::closed);

        RawSocket next = server.connect();
        next.send(get);
        EXPECT_EQ(status_of(next.read_answer()), 200);
    }
}

TEST(Server, AnswersPipelinedRequestsInOrder) {
    TestServer server(echo);
    RawSocket client = server.connect();
    std::string all;
    for (int i = 0; i < 100; ++i) all += fmt::format("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", i);
    client.send(all);
    for (int i = 0; i < 100; ++i) {
        EXPECT_TRUE(client.read_answer().ends_with(fmt::format("\r\n\r\nGET /{}? ", i)));
    }
}

loop::Task<void> echo_after_a_turn(Request request, Responder& responder) {
    co_await loop::sleep_for(1ms);
    co_await echo(std::move(request), responder);
}

TEST(Server, AnswersPipelinedRequestsThatArriveWhileTheHandlerWaits) {
    TestServer server(echo_after_a_turn);
    RawSocket client = server.connect();
    // More than the room for bytes that are sent ahead.
    const std::string body(30'000, 'b');
    std::thread sender([&] {
        for (int i = 0; i < 20; ++i) {
            client.send(fmt::format("POST /{} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}",
                                    i, body.size(), body));
        }
    });
    for (int i = 0; i < 20; ++i) {
        EXPECT_TRUE(client.read_answer().ends_with(fmt::format("\r\n\r\nPOST /{}? {}", i, body)));
    }
    sender.join();
}

TEST(Server, AnswersARequestThatArrivesByteByByte) {
    TestServer server(echo);
    RawSocket client = server.connect();
    const std::string bytes =
        "POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    for (const char c : bytes) ASSERT_TRUE(client.send(std::string_view(&c, 1)));
    EXPECT_TRUE(client.read_answer().ends_with("POST /b? hi"));
}

TEST(Server, GivesAHeadRequestNoBody) {
    TestServer server(echo);
    RawSocket client = server.connect();
    client.send("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n" + get);
    const std::string head = client.read_until("\r\n\r\n");
    EXPECT_TRUE(head.contains("Content-Length: 9\r\n")) << head;
    EXPECT_TRUE(client.read_answer().starts_with("HTTP/1.1 200 OK\r\n"));
}

TEST(Server, KeepsOrClosesTheConnectionAsTheVersionsSay) {
    TestServer server(echo);
    RawSocket kept = server.connect();
    kept.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_TRUE(kept.read_answer().contains("Connection: keep-alive\r\n"));
    kept.send("GET / HTTP/1.0\r\n\r\n");
    EXPECT_TRUE(kept.read_to_end().contains("Connection: close\r\n"));
    RawSocket closed = server.connect();
    closed.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    EXPECT_TRUE(closed.read_to_end().contains("Connection: close\r\n"));
}

TEST(Server, IgnoresAnUpgrade) {
    TestServer server(echo);
    RawSocket client = server.connect();
    client.send("GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
    EXPECT_EQ(status_of(client.read_answer()), 200);
}

TEST(Server, InvitesABodyThatIsExpectedAndGivesItUpWhenItIsSlow) {
    TestServer server(echo);
    const std::string head =
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    RawSocket client = server.connect();
    client.send(head);
    EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hi");
    EXPECT_TRUE(client.read_answer().ends_with("POST /? hi"));
    client.send(head);
    EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("h");
    server.advance(61s);
    EXPECT_EQ(status_of(client.read_to_end()), 408);
}

TEST(Server, AnswersEarlyToABodyThatIsTooLarge) {
    TestServer server(echo, small_limits());
    RawSocket client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n");
    // All of it is taken in and dropped, so that the answer is not lost by a reset.
    EXPECT_TRUE(client.send(std::string(3'000'000, 'x')));
    EXPECT_EQ(status_of(client.read_to_end()), 413);
    EXPECT_EQ(client.end(), RawSocket::End::closed);
}

TEST(Server, ClosesSlowHeadsAndIdleConnectionsAtTheirDeadlines) {
    TestServer server(echo);
    RawSocket idle = server.connect();
    idle.send(get);
    idle.read_answer();
    // The answer to the first request shows that the server has seen the start of the second.
    RawSocket slow = server.connect();
    slow.send(get + "GET / HTTP/1.1\r\nHost");
    slow.read_answer();
    server.advance(11s);
    EXPECT_EQ(status_of(slow.read_to_end()), 408);
    server.advance(76s);
    EXPECT_EQ(idle.read_to_end(), "");
    EXPECT_EQ(idle.end(), RawSocket::End::closed);
    slow.close();
    server.await_connections(0);
}

loop::Task<void> stream_three(Request, Responder& responder) {
    Headers headers;
    headers.add("Content-Type", "text/event-stream");
    responder.start(200, std::move(headers));
    for (const char* piece : {"one", "", "two"}) {
        const auto written = co_await responder.write(piece);
        EXPECT_TRUE(written);
    }
    co_await responder.finish("three");
}

TEST(Server, StreamsInChunksAndUntilCloseForOldClients) {
    TestServer server(stream_three);
    RawSocket client = server.connect();
    client.send(get + get);
    for (int i = 0; i < 2; ++i) {
        const std::string head = client.read_until("\r\n\r\n");
        EXPECT_TRUE(head.contains("Transfer-Encoding: chunked\r\n"));
        EXPECT_FALSE(head.contains("Content-Length"));
        EXPECT_EQ(client.read_until("0\r\n\r\n"),
                  "3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n");
    }
    RawSocket old = server.connect();
    old.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const std::string answer = old.read_to_end();
    EXPECT_TRUE(answer.ends_with("\r\n\r\nonetwothree")) << answer;
    EXPECT_FALSE(answer.contains("chunked"));
    EXPECT_EQ(old.end(), RawSocket::End::closed);
}

loop::Task<void> nudge_and_write(Request, Responder& responder) {
    const std::uint64_t before = responder.bytes_sent();
    EXPECT_EQ(responder.framing(), Framing::none);
    responder.start(200, Headers());
    responder.nudge(": a");
    EXPECT_GT(responder.bytes_sent(), before);
    const auto written = co_await responder.write("text");
    EXPECT_TRUE(written);
    responder.nudge(": b");
    co_await responder.finish("end");
}

TEST(Server, NudgesAClientBetweenWrites) {
    TestServer server(nudge_and_write);
    RawSocket client = server.connect();
    client.send(get);
    client.read_until("\r\n\r\n");
    EXPECT_EQ(client.read_until("0\r\n\r\n"),
              "3\r\n: a\r\n4\r\ntext\r\n3\r\n: b\r\n3\r\nend\r\n0\r\n\r\n");
    RawSocket old = server.connect();
    old.send("GET / HTTP/1.0\r\n\r\n");
    EXPECT_TRUE(old.read_to_end().ends_with("\r\n\r\n: atext: bend"));
}

// Nudges until the kernel takes no more, and then for a while.
loop::Task<void> nudge_for_long(Request, Responder& responder) {
    responder.start(200, Headers());
    const std::string piece(100'000, 'x');
    std::uint64_t before = 0;
    do {
        before = responder.bytes_sent();
        responder.nudge(piece);
    } while (responder.bytes_sent() != before);
    for (int i = 0; i < 1000; ++i) responder.nudge(piece);
    EXPECT_EQ(responder.bytes_sent(), before);
    EXPECT_EQ(responder.framing(), Framing::chunked);
    co_await responder.finish("end");
    EXPECT_GT(responder.bytes_sent(), before);
}

TEST(Server, KeepsNoMoreThanOneNudgeForAClientThatDoesNotRead) {
    std::promise<void> asked;
    TestServer server([&asked](Request request, Responder& responder) {
        asked.set_value();
        return nudge_for_long(std::move(request), responder);
    });
    RawSocket client = RawSocket::connect(server.port(), 4096);
    client.send(get);
    asked.get_future().wait();
    std::string rest = client.read_until("\r\n\r\n").empty() ? "" : client.read_until("0\r\n\r\n");
    ChunkDecoder decoder;
    std::string body;
    std::string_view left = rest;
    while (!decoder.done() && !left.empty()) {
        const auto step = decoder.next(left);
        ASSERT_TRUE(step && step->consumed > 0);
        body += step->data;
        left.remove_prefix(step->consumed);
    }
    EXPECT_TRUE(decoder.done());
    EXPECT_TRUE(body.ends_with("xend"));
    EXPECT_EQ((body.size() - 3) % 100'000, 0U);
}

loop::Task<void> break_off(Request request, Responder& responder) {
    if (request.path == "/silent") co_return;
    if (request.path == "/throw") throw std::runtime_error("a bug");
    responder.start(200, Headers());
    co_await responder.write("half");
    if (request.path == "/throw-late") throw std::runtime_error("a bug");
}

TEST(Server, MakesABrokenOffAnswerVisible) {
    TestServer server(break_off);
    for (const char* path : {"/silent", "/throw"}) {
        RawSocket client = server.connect();
        client.send(fmt::format("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path));
        EXPECT_EQ(status_of(client.read_answer()), 500);
    }
    for (const char* path : {"/return", "/throw-late"}) {
        RawSocket client = server.connect();
        client.send(fmt::format("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", path));
        EXPECT_TRUE(client.read_to_end().ends_with("4\r\nhalf\r\n"));
        RawSocket old = server.connect();
        old.send(fmt::format("GET {} HTTP/1.0\r\n\r\n", path));
        old.read_to_end();
        EXPECT_EQ(old.end(), RawSocket::End::reset);
    }
}

// Waits for ever, then settles with another wait. What it saw goes to the test.
struct Witness {
    std::promise<void> started;
    std::promise<std::string> settled;
};

loop::Task<void> wait_and_settle(Witness& witness, Responder& responder) {
    witness.started.set_value();
    co_await loop::sleep_for(1h);
    std::string seen = responder.client_gone() ? "gone" : "there";
    co_await loop::sleep_for(1ms);
    Response response;
    const auto sent = co_await responder.send(std::move(response));
    seen += sent ? " sent" : sent.error().code == base::Code::cancelled ? " cancelled" : " failed";
    witness.settled.set_value(seen);
}

TEST(Server, TellsTheHandlerWhenTheClientLeaves) {
    for (const std::string how : {"close", "half-close", "reset", "pipelined, then close"}) {
        SCOPED_TRACE(how);
        Witness witness;
        TestServer server([&witness](const Request&, Responder& responder) {
            return wait_and_settle(witness, responder);
        });
        RawSocket client = server.connect();
        client.send(get);
        witness.started.get_future().get();
        if (how == "pipelined, then close") client.send(get + get);
        if (how == "half-close") {
            client.half_close();
        } else if (how == "reset") {
            client.reset();
        } else {
            client.close();
        }
        EXPECT_EQ(witness.settled.get_future().get(), "gone cancelled");
        server.await_connections(0);
    }
}

// The loop is held meanwhile, so that all that is sent arrives as one event.
TEST(Server, SeesTheEndThatArrivesTogetherWithBytes) {
    Witness witness;
    TestServer server([&witness](Request request, Responder& responder) {
        return request.path == "/quick" ? echo(std::move(request), responder)
                                        : wait_and_settle(witness, responder);
    });
    RawSocket whole = server.connect();
    RawSocket half = server.connect();
    for (RawSocket* client : {&whole, &half}) {
        client->send("GET /quick HTTP/1.1\r\nHost: x\r\n\r\n");
        EXPECT_EQ(status_of(client->read_answer()), 200);
    }
    server.thread().call([&] {
        whole.send(get);
        whole.half_close();
        half.send(get.substr(0, 10));
        half.half_close();
    });
    EXPECT_EQ(witness.settled.get_future().get(), "gone cancelled");
    EXPECT_EQ(status_of(half.read_to_end()), 400);
    server.await_connections(0);
}

// A read stops short of urgent bytes although more lie behind them.
TEST(Server, ReadsOnBehindUrgentBytes) {
    TestServer server(echo);
    RawSocket client = server.connect();
    server.await_connections(1);
    server.thread().call([&] {
        client.send(get.substr(0, 10));
        EXPECT_EQ(::send(client.fd(), "!", 1, MSG_OOB | MSG_NOSIGNAL), 1);
        client.send(get.substr(10));
    });
    EXPECT_EQ(status_of(client.read_answer()), 200);
}

TEST(Server, SharesConnectionsOutEvenlyAmongLoops) {
    const base::UniqueFd listener = *listen_tcp("127.0.0.1:0");
    const base::SystemClock clock;
    std::array<testing::LoopThread, 3> threads;
    std::vector<std::unique_ptr<Server>> servers;
    std::vector<Server*> all;
    for (auto& thread : threads) {
        servers.push_back(std::make_unique<Server>(thread.loop(), clock, listener.get(),
                                                   ServerLimits(), echo, testing::plain_error));
        all.push_back(servers.back().get());
    }
    Server::share(all);
    const auto on_each_loop = [&](auto function) {
        for (std::size_t i = 0; i < threads.size(); ++i)
            threads[i].call([&] { function(servers[i]); });
    };
    on_each_loop([](auto& server) { server->start(); });
    std::vector<RawSocket> clients;
    for (int i = 0; i < 12; ++i) {
        clients.push_back(RawSocket::connect(testing::port_of(listener.get())));
        clients.back().send(get);
        EXPECT_EQ(status_of(clients.back().read_answer()), 200);
    }
    on_each_loop([](auto& server) { EXPECT_EQ(server->connections(), 4); });
    on_each_loop([](auto& server) { server->drain(); });
    for (RawSocket& client : clients) EXPECT_EQ(client.read_to_end(), "");
    on_each_loop([](auto& server) { server.reset(); });
}

struct SlowWitness {
    std::promise<base::Code> failed;
};

loop::Task<void> write_for_ever(SlowWitness& witness, Responder& responder) {
    responder.start(200, Headers());
    const std::string piece(100'000, 'x');
    while (true) {
        const auto written = co_await responder.write(piece);
        if (written) continue;
        witness.failed.set_value(written.error().code);
        co_return;
    }
}

TEST(Server, DropsAClientThatTakesNoBytes) {
    SlowWitness witness;
    TestServer server([&witness](const Request&, Responder& responder) {
        return write_for_ever(witness, responder);
    });
    RawSocket client = RawSocket::connect(server.port(), 4096);
    client.send(get);
    auto failed = witness.failed.get_future();
    while (failed.wait_for(1ms) != std::future_status::ready) server.advance(61s);
    EXPECT_EQ(failed.get(), base::Code::cancelled);
    server.await_connections(0);
}

TEST(Server, DrainsWithoutLosingARequest) {
    TestServer server(echo_after_a_turn);
    RawSocket idle = server.connect();
    idle.send(get);
    idle.read_answer();
    RawSocket fresh = server.connect();
    server.await_connections(2);
    server.drain();
    EXPECT_EQ(idle.read_to_end(), "");
    fresh.send(get);
    const std::string answer = fresh.read_to_end();
    EXPECT_EQ(status_of(answer), 200);
    EXPECT_TRUE(answer.contains("Connection: close\r\n"));
    fresh.close();
    server.await_connections(0);
}

TEST(Server, CancelsRunningHandlersWhenItIsDestroyed) {
    Witness witness;
    TestServer server([&witness](const Request&, Responder& responder) {
        return wait_and_settle(witness, responder);
    });
    RawSocket client = server.connect();
    client.send(get);
    witness.started.get_future().get();
    server.stop();
    EXPECT_EQ(witness.settled.get_future().get(), "gone cancelled");
    EXPECT_EQ(client.read_to_end(), "");
}

TEST(Server, PausesAcceptingAtItsLimit) {
    ServerLimits limits;
    limits.connections_max = 2;
    TestServer server(echo, limits);
    RawSocket first = server.connect();
    RawSocket second = server.connect();
    server.await_connections(2);
    RawSocket third = server.connect();
    third.send(get);
    first.close();
    EXPECT_EQ(status_of(third.read_answer()), 200) << "accepted as soon as there is room";
    EXPECT_EQ(server.connections(), 2);
}

TEST(Server, LetsClientsTakeTurnsAtItsLimit) {
    ServerLimits limits;
    limits.connections_max = 1;
    TestServer server(echo, limits);
    RawSocket first = server.connect();
    server.await_connections(1);
    RawSocket second = server.connect();
    second.send(get);
    first.send(get);
    const std::string answer = first.read_to_end();
    EXPECT_EQ(status_of(answer), 200);
    EXPECT_TRUE(answer.contains("Connection: close\r\n"));
    first.close();
    EXPECT_EQ(status_of(second.read_answer()), 200);
}

TEST(Server, SurvivesRunningOutOfFileDescriptors) {
    TestServer server(echo);
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    RawSocket open = server.connect();
    server.await_connections(1);
    const int ahead = ::socket(AF_INET, SOCK_STREAM, 0);
    rlimit tight = before;
    tight.rlim_cur = ahead + 1;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server.port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::connect(ahead, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    RawSocket late(ahead);
    EXPECT_EQ(status_of(late.read_to_end()), 503);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    // It recovers alone: the clock moves past the pause.
    RawSocket next = server.connect();
    next.send(get);
    server.advance(1s);
    EXPECT_EQ(status_of(next.read_answer()), 200);
}

TEST(Server, ServesIpv6) {
    if (!listen_tcp("[::1]:0")) GTEST_SKIP() << "no IPv6 on this machine";
    TestServer server(echo, {}, "[::1]:0");
    Url url;
    url.host = "::1";
    url.port = server.port();
    EXPECT_EQ(Url::parse(url.text()), url);
    const int fd = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(server.port());
    address.sin6_addr = in6addr_loopback;
    RawSocket client(fd);
    ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    client.send(get);
    EXPECT_EQ(status_of(client.read_answer()), 200);
}

loop::Task<void> split_response(Request, Responder& responder) {
    Response response;
    response.headers.add("X-Good", "1");
    response.headers.add("X-Bad", "1\r\nX-Injected: 1");
    response.headers.add("Content-Length", "7");
    response.body = "ok";
    co_await responder.send(std::move(response));
}

TEST(Server, LeavesOutHeadersThatWouldSplitTheAnswer) {
    TestServer server(split_response);
    RawSocket client = server.connect();
    client.send(get);
    const std::string answer = client.read_answer();
    EXPECT_TRUE(answer.contains("X-Good: 1\r\n"));
    EXPECT_FALSE(answer.contains("X-Injected"));
    EXPECT_TRUE(answer.contains("Content-Length: 2\r\n"));
    EXPECT_FALSE(answer.contains("Content-Length: 7"));
}

TEST(ListenTcp, RefusesAddressesThatAreNone) {
    for (const std::string_view address :
         {"", "localhost", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "::1:0",
          "256.1.1.1:0"}) {
        EXPECT_FALSE(listen_tcp(address)) << address;
    }
    const auto first = listen_tcp("127.0.0.1:0");
    ASSERT_TRUE(first);
    EXPECT_FALSE(listen_tcp(local_address(first->get()))) << "the port is taken";
}

}  // namespace
}  // namespace holdfast::http
