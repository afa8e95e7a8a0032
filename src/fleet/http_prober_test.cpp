#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <map>
#include <optional>

#include "fleet/probe.h"
#include "http/server.h"
#include "http/sleep.h"

namespace holdfast::fleet {

using namespace std::chrono_literals;
using dialect::InstanceKind;
namespace asio = http::asio;

// A server whose pages the test writes; a page with status 0 is never answered.
class HttpProberTest : public testing::Test {
protected:
    void SetUp() override {
        listener_ = http::listen_tcp("127.0.0.1:0").value();
        url_ = http::Url::parse("http://" + http::local_address(listener_.get())).value();
        server_ = std::make_unique<http::Server>(
            loop_, clock_, listener_.get(), http::ServerLimits{},
            [this](http::Request request, http::Responder& responder) {
                return answer(std::move(request), responder);
            },
            [](int status, std::string_view) {
                http::Response response;
                response.status = status;
                return response;
            });
        server_->start();
        prober_ = make_http_prober(loop_, clock_);
    }

    http::Task<void> answer(http::Request request, http::Responder& responder) {
        asked_.push_back(request.path);
        http::Response response;
        const auto page = pages_.find(request.path);
        response.status = page == pages_.end() ? 404 : page->second.first;
        if (response.status == 0) {
            co_await http::sleep_for(1h);  // ends when the client leaves
            co_return;
        }
        if (page != pages_.end()) response.body = page->second.second;
        const auto sent = co_await responder.send(std::move(response));
        EXPECT_TRUE(sent);
    }

    ProbeResult probe(InstanceKind kind, bool want_models = false,
                      base::Duration silence_max = 60s) {
        ProbeAsk ask{url_, kind, want_models, silence_max};
        std::optional<ProbeResult> result;
        asio::co_spawn(loop_, prober_->probe(std::move(ask)),
                       [&](const std::exception_ptr& error, ProbeResult probed) {
                           EXPECT_FALSE(error);
                           result = std::move(probed);
                       });
        while (!result) loop_.run_one();
        return *std::move(result);
    }
    ProbeFailure failure(InstanceKind kind, bool want_models = false) {
        const ProbeResult result = probe(kind, want_models);
        EXPECT_FALSE(result);
        why_ = result ? "" : result.error().why;
        return result ? ProbeFailure::silent : result.error().failure;
    }

    http::Loop loop_{1};
    base::SystemClock clock_;
    base::UniqueFd listener_;
    http::Url url_;
    std::map<std::string, std::pair<int, std::string>> pages_;
    std::vector<std::string> asked_;
    std::string why_;
    std::unique_ptr<http::Server> server_;
    std::unique_ptr<Prober> prober_;
};

TEST_F(HttpProberTest, AsksAWorkerForItsReadyPage) {
    pages_["/readyz"] = {200, R"({"ready":true,"model":"tiny-r1","instance_life":"x"})"};
    for (int i = 0; i < 3; ++i) {
        const ProbeResult result = probe(InstanceKind::holdfast);
        ASSERT_TRUE(result);
        EXPECT_TRUE(result->answer.ready);
        EXPECT_EQ(result->models->at(0).id, "tiny-r1");
    }
    EXPECT_EQ(asked_.size(), 3U);
    EXPECT_EQ(server_->connections(), 1U);  // kept alive from probe to probe
}

TEST_F(HttpProberTest, TakesALoadingWorkersAnswerForAnAnswer) {
    pages_["/readyz"] = {503, R"({"ready":false,"reasons":["loading"]})"};
    const ProbeResult result = probe(InstanceKind::holdfast);
    ASSERT_TRUE(result);
    EXPECT_FALSE(result->answer.ready);
    EXPECT_EQ(result->answer.reasons, "loading");
}

TEST_F(HttpProberTest, CallsWrongStatusAndWrongBodyGarbage) {
    EXPECT_EQ(failure(InstanceKind::holdfast), ProbeFailure::garbage);
    EXPECT_EQ(why_, "/readyz answered 404");
    pages_["/readyz"] = {200, "fine"};
    EXPECT_EQ(failure(InstanceKind::holdfast), ProbeFailure::garbage);
    EXPECT_EQ(why_, "/readyz gave no JSON object");
    pages_["/health"] = {500, ""};
    EXPECT_EQ(failure(InstanceKind::vllm), ProbeFailure::garbage);
    pages_["/v1/models"] = {401, "{}"};
    EXPECT_EQ(failure(InstanceKind::openai), ProbeFailure::garbage);
    EXPECT_EQ(why_, "/v1/models answered 401");
}

TEST_F(HttpProberTest, CallsWhoNeverAnswersSilent) {
    pages_["/readyz"] = {0, ""};
    const ProbeResult result = probe(InstanceKind::holdfast, false, 20ms);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().failure, ProbeFailure::silent);
}

TEST_F(HttpProberTest, CallsWhoDoesNotListenUnreachable) {
    server_.reset();
    listener_.reset();
    EXPECT_EQ(failure(InstanceKind::holdfast), ProbeFailure::unreachable);
}

TEST_F(HttpProberTest, AsksExternalServersForHealthAndForModelsOnlyWhenWanted) {
    pages_["/health"] = {200, ""};
    pages_["/v1/models"] = {200, R"({"data":[{"id":"r1","max_model_len":4096}]})"};
    const ProbeResult first = probe(InstanceKind::vllm, true);
    ASSERT_TRUE(first);
    EXPECT_TRUE(first->answer.ready);
    EXPECT_EQ(first->models->at(0).context, 4096U);
    const ProbeResult second = probe(InstanceKind::llama_server, false);
    ASSERT_TRUE(second);
    EXPECT_TRUE(second->answer.ready);
    EXPECT_FALSE(second->models);
    EXPECT_EQ(asked_, (std::vector<std::string>{"/health", "/v1/models", "/health"}));
    pages_["/health"] = {503, R"({"error":"Loading model"})"};
    const ProbeResult third = probe(InstanceKind::llama_server, true);
    ASSERT_TRUE(third);
    EXPECT_FALSE(third->answer.ready);
}

TEST_F(HttpProberTest, TakesAServerThatListsNoModelsForAliveAllTheSame) {
    const ProbeResult unlisted = probe(InstanceKind::openai);
    ASSERT_TRUE(unlisted);
    EXPECT_TRUE(unlisted->answer.ready);
    EXPECT_TRUE(unlisted->models->empty());
    pages_["/v1/models"] = {429, ""};
    const ProbeResult busy = probe(InstanceKind::openai);
    ASSERT_TRUE(busy);
    EXPECT_TRUE(busy->answer.ready);
    EXPECT_FALSE(busy->models);
}

}  // namespace holdfast::fleet
