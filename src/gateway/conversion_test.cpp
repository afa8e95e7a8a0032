// /tokenize and /detokenize against scripted instances over loopback, all in one thread.
#include "gateway/conversion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <deque>

#include "gateway/routes.h"

namespace holdfast::gateway {
namespace {

using dialect::InstanceKind;
using testing::HasSubstr;

constexpr std::string_view tokenized = R"({"count":1,"max_model_len":64,"tokens":[7]})";

// Gives its answers in turn, and the last one for ever. Status 0 breaks the connection.
struct Instance {
    Instance(http::Loop& loop, const base::Clock& clock)
        : listener(*http::listen_tcp("127.0.0.1:0")),
          server(
              loop, clock, listener.get(), {},
              [this](http::Request request, http::Responder& responder) {
                  return reply(std::move(request), responder);
              },
              protocol_error) {
        server.start();
    }
    http::Task<void> reply(http::Request request, http::Responder& responder) {
        asked.push_back(request.path + " " + request.body);
        auto [status, body] = answers.front();
        if (answers.size() > 1) answers.pop_front();
        if (status == 0) co_return;
        http::Response response{status, {}, std::move(body)};
        (void)co_await responder.send(std::move(response));
    }

    base::UniqueFd listener;
    http::Server server;
    std::deque<std::pair<int, std::string>> answers{{200, std::string(tokenized)}};
    std::vector<std::string> asked;
};

class FixedFleet final : public fleet::Fleet {
public:
    std::shared_ptr<const fleet::Snapshot> snapshot() const override { return now; }
    void report(const std::string&, std::uint64_t, fleet::Outcome outcome) override {
        reports.push_back(outcome);
    }
    void subscribe(std::function<void(std::shared_ptr<const fleet::Snapshot>)>) override {}

    std::shared_ptr<const fleet::Snapshot> now = std::make_shared<fleet::Snapshot>();
    std::vector<fleet::Outcome> reports;
};

class ConversionTest : public testing::Test {
protected:
    ConversionTest() : memory_(1 << 20), journal_(memory_, 64) {
        options_.timeouts.place = std::chrono::milliseconds(50);
        policy_ = std::move(*balance::make_policy("least_outstanding"));
        view_.emplace(loop_, clock_, entropy_, fleet_, *policy_);
        lane_.emplace(
            Lane{options_, clock_, entropy_, metrics_, client_, *view_, journal_, budget_});
        listener_ = std::move(*http::listen_tcp("127.0.0.1:0"));
        server_.emplace(
            loop_, clock_, listener_.get(), http::ServerLimits{},
            [this](http::Request request, http::Responder& responder) {
                return route(*lane_, front_, std::move(request), responder);
            },
            protocol_error);
        server_->start();
    }

    void publish(InstanceKind first, InstanceKind second, std::string_view second_model = "m") {
        auto snapshot = std::make_shared<fleet::Snapshot>();
        for (Instance* instance : {&a_, &b_}) {
            fleet::Instance& entry = snapshot->instances.emplace_back();
            const bool is_first = instance == &a_;
            entry.id = is_first ? "a" : "b";
            entry.url =
                *http::Url::parse("http://" + http::local_address(instance->listener.get()));
            entry.model = is_first ? "m" : second_model;
            entry.upstream_model = "up";
            entry.state = fleet::State::ready;
            entry.kind = is_first ? first : second;
            entry.context = 128;
            entry.load = std::make_shared<fleet::Load>();
        }
        fleet_.now = snapshot;
        view_->update(fleet_.now);
    }

    // Status and body of the gateway's answer.
    std::string ask(std::string path, std::string body) {
        std::string seen;
        http::asio::co_spawn(loop_, send(std::move(path), std::move(body), seen),
                             http::asio::detached);
        loop_.run();
        loop_.restart();
        EXPECT_EQ(journal_.entries_open(), 0);
        return seen;
    }
    http::Task<void> send(std::string path, std::string body, std::string& seen) {
        http::ClientRequest request{"POST", std::move(path), {}, std::move(body)};
        request.headers.add("Content-Type", "application/json");
        const auto url = http::Url::parse("http://" + http::local_address(listener_.get()));
        http::ClientDeadlines deadlines;
        auto answer = co_await client_.send(*url, std::move(request), deadlines);
        if (answer) {
            auto text = co_await (*answer)->read_all(base::Deadline::never());
            seen = fmt::format("{} {}", (*answer)->status(), text ? *text : text.error().what);
        }
        loop_.stop();
    }

    Options options_;
    base::SystemClock clock_;
    base::SystemEntropy entropy_;
    http::Loop loop_{1};
    Instance a_{loop_, clock_}, b_{loop_, clock_};
    FixedFleet fleet_;
    telemetry::Registry registry_;
    Metrics metrics_{registry_};
    Front front_{registry_, false, clock_.now()};
    std::vector<std::byte> memory_;
    Journal journal_;
    std::unique_ptr<balance::Policy> policy_;
    http::Client client_{loop_, clock_};
    RetryBudget budget_{clock_, {}};
    std::optional<FleetView> view_;
    std::optional<Lane> lane_;
    base::UniqueFd listener_;
    std::optional<http::Server> server_;
};

}  // namespace

TEST_F(ConversionTest, AsksAnInstanceOfTheModel) {
    publish(InstanceKind::holdfast, InstanceKind::holdfast, "other");
    EXPECT_EQ(ask("/tokenize", R"({"model":"m","prompt":"x"})"),
              R"(200 {"count":1,"max_model_len":64,"tokens":[7],"token_strs":null})");
    EXPECT_THAT(a_.asked.at(0), HasSubstr(R"(/tokenize {"model":"up","prompt":"x")"));
    b_.answers = {{200, R"({"prompt":"text"})"}};
    EXPECT_EQ(ask("/detokenize", R"({"model":"other","tokens":[7]})"), R"(200 {"prompt":"text"})");
    EXPECT_EQ(b_.asked.size(), 1U);
    EXPECT_THAT(ask("/tokenize", R"({"model":"none","prompt":"x"})"), HasSubstr("model_not_found"));
    EXPECT_THAT(ask("/tokenize", R"({"prompt":"x"})"), HasSubstr("\"param\":\"model\""));
}

TEST_F(ConversionTest, NeedsNoModelWhereThereIsOnlyOne) {
    publish(InstanceKind::holdfast, InstanceKind::holdfast);
    EXPECT_THAT(ask("/tokenize", R"({"prompt":"x"})"), HasSubstr("200 {\"count\":1"));
    EXPECT_THAT(ask("/tokenize", "{"), HasSubstr("400 {\"error\""));
    EXPECT_THAT(ask("/detokenize", "{}"), HasSubstr("\"param\":\"tokens\""));
}

TEST_F(ConversionTest, TriesAgainWhereAnInstanceFails) {
    publish(InstanceKind::holdfast, InstanceKind::holdfast);
    for (const auto& failure :
         {std::pair(0, std::string()), std::pair(500, std::string("no")),
          std::pair(200, std::string("garbage")), std::pair(503, std::string("full"))}) {
        a_.answers = b_.answers = {failure, {200, std::string(tokenized)}};
        a_.asked.clear(), b_.asked.clear();
        EXPECT_THAT(ask("/tokenize", R"({"prompt":"x"})"),
                    testing::AnyOf(HasSubstr("200 {\"count\":1"), HasSubstr("503 ")))
            << failure.first;
        EXPECT_GE(a_.asked.size() + b_.asked.size(), 2U);
        view_->update(fleet_.now);
    }
}

TEST_F(ConversionTest, ShowsTheClientsOwnErrorsWithoutTryingAgain) {
    publish(InstanceKind::holdfast, InstanceKind::holdfast);
    a_.answers =
        b_.answers = {{400, R"({"error":{"message":"Token 9 does not exist.","param":"tokens"}})"}};
    const std::string seen = ask("/detokenize", R"({"tokens":[9]})");
    EXPECT_THAT(seen, HasSubstr("400 "));
    EXPECT_THAT(seen, HasSubstr("Token 9 does not exist."));
    EXPECT_THAT(seen, HasSubstr("\"param\":\"tokens\""));
    EXPECT_EQ(a_.asked.size() + b_.asked.size(), 1U);
}

TEST_F(ConversionTest, PassesByInstancesThatOfferNoSuchThing) {
    publish(InstanceKind::openai, InstanceKind::llama_server);
    b_.answers = {{200, R"({"tokens":[7]})"}};
    EXPECT_EQ(ask("/tokenize", R"({"prompt":"x","add_special_tokens":false})"),
              R"(200 {"count":1,"max_model_len":128,"tokens":[7],"token_strs":null})");
    EXPECT_EQ(b_.asked.at(0),
              R"(/tokenize {"content":"x","add_special":false,"with_pieces":false})");
    const std::string conversation =
        ask("/tokenize", R"({"messages":[{"role":"user","content":"x"}]})");
    EXPECT_THAT(conversation, HasSubstr("501 "));
    EXPECT_THAT(conversation, HasSubstr("\"code\":\"not_implemented\""));
    EXPECT_TRUE(a_.asked.empty());

    publish(InstanceKind::vllm, InstanceKind::vllm);
    a_.answers = b_.answers = {{404, "{}"}};
    EXPECT_THAT(ask("/tokenize", R"({"prompt":"x"})"), HasSubstr("501 "));
    EXPECT_TRUE(std::ranges::none_of(
        fleet_.reports, [](fleet::Outcome outcome) { return outcome == fleet::Outcome::sick; }));
}

TEST_F(ConversionTest, GivesUpWhenNothingIsReady) {
    EXPECT_THAT(ask("/tokenize", R"({"prompt":"x"})"), HasSubstr("503 "));
    EXPECT_TRUE(a_.asked.empty());
}

}  // namespace holdfast::gateway
