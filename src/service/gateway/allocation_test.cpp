// How much memory an exchange asks for between accept and settle. The gateway's loop runs on this
// thread; instance and client have another.
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <thread>

#include "common/base/test_allocations.h"
#include "service/gateway/test_world.h"

namespace holdfast::gateway {
namespace {

using base::testing::own_allocations;

// A loop on a thread of its own.
class OtherThread {
public:
    ~OtherThread() {
        guard_.reset();
        loop_.stop();
        if (thread_.joinable()) thread_.join();
    }
    loop::Loop& loop() { return loop_; }
    void start() {
        thread_ = std::thread([this] { loop_.run(); });
    }

private:
    loop::Loop loop_{1};
    asio::executor_work_guard<loop::Executor> guard_{loop_.get_executor()};
    std::thread thread_;
};

constexpr int tokens = 16;

loop::Task<void> say(http::Request, http::Responder& responder) {
    http::Headers headers;
    headers.add("Content-Type", "text/event-stream");
    headers.add("x-holdfast-fingerprint", "F");
    responder.start(200, std::move(headers));
    for (int i = 0; i < tokens; ++i) {
        const std::string event = fmt::format(
            R"(data: {{"id":"w","object":"chat.completion.chunk","created":1,"model":"m","choices":[)"
            R"({{"index":0,"delta":{{"content":"<{}>"}},"finish_reason":{}}}],"holdfast":{{"ids":[{}]}}}})"
            "\n\n",
            i, i == tokens - 1 ? "\"stop\"" : "null", 100 + i);
        if (auto written = co_await responder.write(event); !written) co_return;
    }
    (void)co_await responder.finish(
        R"(data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":16}})"
        "\n\ndata: [DONE]\n\n");
}

struct NoInstance {
    NoInstance(loop::Loop&, const base::Clock&) {}
};

class AllocationTest : public GatewayTest<NoInstance> {
protected:
    AllocationTest() : GatewayTest(std::chrono::seconds(10)) {
        auto snapshot = std::make_shared<fleet::Snapshot>();
        fleet::Instance& entry = snapshot->instances.emplace_back();
        entry.id = "a";
        entry.url = instance_.url();
        entry.model = entry.upstream_model = "m";
        entry.fingerprint = "F";
        entry.state = fleet::State::ready;
        entry.load = std::make_shared<fleet::Load>();
        fleet_.now = std::move(snapshot);
        view_.update(fleet_.now);
        other_.start();
    }

    // Of one request in the long run: connections are kept, buffers have grown.
    double per_request(const std::string& body) {
        ask(body, 20);
        // An instance's events may arrive one by one or several together, which is up to the
        // threads: the fewest of several rounds is what the code itself needs.
        std::uint64_t fewest = UINT64_MAX;
        for (int round = 0; round < 8; ++round) {
            const std::uint64_t before = own_allocations;
            ask(body, 100);
            fewest = std::min(fewest, own_allocations - before);
        }
        return static_cast<double>(fewest) / 100;
    }

private:
    void ask(const std::string& body, int times) {
        std::promise<void> done;
        asio::co_spawn(other_.loop(), send(body, times), asio::detached);
        loop_.run();
        loop_.restart();
    }
    loop::Task<void> send(std::string body, int times) {
        for (int i = 0; i < times; ++i) {
            http::ClientRequest request{"POST", "/v1/chat/completions", {}, body};
            request.headers.add("Content-Type", "application/json");
            const http::ClientDeadlines deadlines;
            auto answer = co_await other_client_.send(server_.url(), std::move(request), deadlines);
            EXPECT_TRUE(answer && (*answer)->status() == 200);
            if (!answer) break;
            EXPECT_TRUE(co_await (*answer)->read_all(base::Deadline::never()));
        }
        asio::post(loop_, [this] { loop_.stop(); });
    }

    OtherThread other_;
    LocalServer instance_{other_.loop(), clock_, say};
    http::Client other_client_{other_.loop(), clock_};
};

TEST_F(AllocationTest, ServesARequestWithFew) {
    const double whole = per_request(
        R"({"model":"m","messages":[{"role":"user","content":"hello, how are you?"}]})");
    const double streamed = per_request(
        R"({"model":"m","stream":true,"messages":[{"role":"user","content":"hello, how are you?"}]})");
    RecordProperty("whole", fmt::format("{}", whole));
    RecordProperty("streamed", fmt::format("{}", streamed));
    fmt::print("allocations a request: whole {}, streamed {}\n", whole, streamed);
    EXPECT_LT(whole, 56);
    EXPECT_LT(streamed, 66);
}

}  // namespace
}  // namespace holdfast::gateway
