#include "http/client.h"

#include <gtest/gtest.h>

#include "http/test_world.h"

namespace holdfast::http {
namespace {

using testing::LoopThread;
using testing::RawSocket;
using testing::TestServer;

struct Answer {
    int status = 0;
    std::string body;
};

Task<base::Result<Answer>> fetch(Client& client, Url url, ClientRequest request) {
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

}  // namespace
}  // namespace holdfast::http
