// For tests: a gateway in front of two instances over loopback, all in one thread.
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "service/gateway/lane.h"
#include "service/gateway/routes.h"

namespace holdfast::gateway {

// Serves on a free port, for as long as it lives.
class LocalServer {
public:
    LocalServer(loop::Loop& loop, const base::Clock& clock, http::Handler handler)
        : listener_(*http::listen_tcp("127.0.0.1:0")),
          server_(loop, clock, listener_.get(), {}, std::move(handler), protocol_error) {
        server_.start();
    }
    http::Url url() const {
        return *http::Url::parse("http://" + http::local_address(listener_.get()));
    }

private:
    base::UniqueFd listener_;
    http::Server server_;
};

// Says what the test says, and keeps what it is told.
class FixedFleet final : public fleet::Fleet {
public:
    std::shared_ptr<const fleet::Snapshot> snapshot() const override { return now; }
    void report(const std::string& id, std::uint64_t, fleet::Outcome outcome) override {
        reports.insert({id, outcome});
        if (outcome == fleet::Outcome::lost && on_lost) on_lost(id);
    }
    void subscribe(std::function<void(std::shared_ptr<const fleet::Snapshot>)>) override {}

    std::shared_ptr<const fleet::Snapshot> now = std::make_shared<fleet::Snapshot>();
    std::multiset<std::pair<std::string, fleet::Outcome>> reports;
    std::function<void(const std::string& id)> on_lost;
};

// An Instance is made with a loop and a clock, and has a `server`.
template <class Instance>
class GatewayTest : public testing::Test {
protected:
    explicit GatewayTest(std::chrono::milliseconds place_timeout) {
        options_.timeouts.place = place_timeout;
        options_.pings.head_after = std::chrono::hours(1);  // no test depends on how fast it runs
    }

    // Both instances, ready, as the fleet tells of them after `describe` has had a look at each.
    void publish(const std::function<void(fleet::Instance&)>& describe) {
        auto snapshot = std::make_shared<fleet::Snapshot>();
        for (auto [id, instance] : {std::pair("a", &a_), std::pair("b", &b_)}) {
            fleet::Instance& entry = snapshot->instances.emplace_back();
            entry.id = id;
            entry.url = instance->server.url();
            entry.model = entry.upstream_model = "m";
            entry.state = fleet::State::ready;
            entry.load = std::make_shared<fleet::Load>();
            describe(entry);
        }
        fleet_.now = std::move(snapshot);
        view_.update(fleet_.now);
    }

    struct Seen {
        int status = 0;
        std::string body, resume;
    };
    Seen ask(http::ClientRequest request) {
        Seen seen;
        asio::co_spawn(loop_, send(std::move(request), seen), asio::detached);
        loop_.run();
        loop_.restart();
        return seen;
    }

    Options options_;
    base::SystemClock clock_;
    base::SystemEntropy entropy_;
    loop::Loop loop_{1};
    Instance a_{loop_, clock_}, b_{loop_, clock_};
    FixedFleet fleet_;
    telemetry::Registry registry_;
    Metrics metrics_{registry_};
    Front front_{registry_, false, clock_.now()};
    std::vector<std::byte> memory_ = std::vector<std::byte>(1 << 20);
    Journal journal_{memory_, 64};
    std::unique_ptr<balance::Policy> policy_ = *balance::make_policy("least_outstanding");
    http::Client client_{loop_, clock_};
    RetryBudget budget_{clock_, {}};
    FleetView view_{loop_, clock_, entropy_, fleet_, *policy_};
    Lane lane_{options_, clock_,  entropy_,
               metrics_, client_, view_,
               journal_, budget_, std::make_shared<http::Watchdog>(loop_, clock_)};
    LocalServer server_{loop_, clock_, [this](http::Request request, http::Responder& responder) {
                            return route(lane_, front_, std::move(request), responder);
                        }};

private:
    loop::Task<void> send(http::ClientRequest request, Seen& seen) {
        const http::Url url = server_.url();
        http::ClientDeadlines deadlines;
        auto answer = co_await client_.send(url, std::move(request), deadlines);
        if (answer) {
            seen.status = (*answer)->status();
            seen.resume = (*answer)->headers().find("x-holdfast-resume").value_or("");
            auto text = co_await (*answer)->read_all(base::Deadline::never());
            seen.body = text ? *text : "BROKEN: " + text.error().what;
        }
        loop_.stop();
    }
};

}  // namespace holdfast::gateway
