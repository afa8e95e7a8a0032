// Requests and streamed events per second over loopback, server and client each on a loop of its
// own. The client is ours, so the figures include its cost.
#include <benchmark/benchmark.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <charconv>
#include <optional>
#include <thread>

#include "common/http/client.h"
#include "common/http/server.h"

namespace holdfast::http {
namespace {

constexpr int events_per_answer = 1000;

loop::Task<void> hello(Request request, Responder& responder) {
    if (request.path == "/hello") {
        Response response;
        response.body = "hello";
        co_await responder.send(std::move(response));
        co_return;
    }
    // About the size of one streamed chat event.
    const std::string event = "data: " + std::string(224, 'x') + "\n\n";
    responder.start(200, Headers());
    for (int i = 0; i < events_per_answer; ++i) {
        const auto written = co_await responder.write(event);
        if (!written) co_return;
    }
    co_await responder.finish({});
}

Response empty_error(int status, std::string_view) {
    Response response;
    response.status = status;
    return response;
}

class RunningServer {
public:
    RunningServer() : listener_(*listen_tcp("127.0.0.1:0")), loop_(1) {
        server_.emplace(loop_, clock_, listener_.get(), ServerLimits(), hello, empty_error);
        server_->start();
        thread_ = std::thread([this] { loop_.run(); });
    }
    ~RunningServer() {
        loop_.stop();
        thread_.join();
    }
    Url url() const { return *Url::parse("http://" + local_address(listener_.get())); }

private:
    base::UniqueFd listener_;
    base::SystemClock clock_;
    loop::Loop loop_;
    std::optional<Server> server_;
    std::thread thread_;
};

struct Round {
    loop::Loop& loop;
    int running;
    bool failed = false;
};

loop::Task<void> fetch_many(Client& client, Url url, std::string path, int count, bool& failed) {
    const ClientDeadlines deadlines;
    for (int i = 0; i < count; ++i) {
        ClientRequest request;
        request.path = path;
        auto exchange = co_await client.send(url, std::move(request), deadlines);
        failed = failed || !exchange;
        if (!exchange) co_return;
        while (true) {
            const auto piece = co_await (*exchange)->read_some(base::Deadline::never());
            failed = failed || !piece;
            if (!piece || piece->empty()) break;
        }
    }
}

// The client's idle connections keep the loop busy, so the last one to finish stops it.
loop::Task<void> take_part(Client& client, Url url, std::string path, int count, Round& round) {
    co_await fetch_many(client, std::move(url), std::move(path), count, round.failed);
    if (--round.running == 0) round.loop.stop();
}

// Every connection fetches `count` answers, one after another.
void fetch(benchmark::State& state, const std::string& path, int count, int items_per_answer) {
    RunningServer server;
    const base::SystemClock clock;
    const int connections = static_cast<int>(state.range(0));
    loop::Loop loop(1);
    Client client(loop, clock);
    for (auto _ : state) {
        Round round{.loop = loop, .running = connections};
        for (int i = 0; i < connections; ++i) {
            asio::co_spawn(loop, take_part(client, server.url(), path, count, round),
                           asio::detached);
        }
        loop.restart();
        loop.run();
        if (round.failed) state.SkipWithError("a request failed");
    }
    state.SetItemsProcessed(state.iterations() * connections * count * items_per_answer);
}

void BM_Requests(benchmark::State& state) { fetch(state, "/hello", 1000, 1); }
BENCHMARK(BM_Requests)->Arg(1)->Arg(64)->UseRealTime()->Unit(benchmark::kMillisecond);

void BM_StreamedEvents(benchmark::State& state) { fetch(state, "/events", 10, events_per_answer); }
BENCHMARK(BM_StreamedEvents)->Arg(1)->Arg(64)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace holdfast::http
