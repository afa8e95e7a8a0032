#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <optional>

#include "service/fleet/fake_instance.h"
#include "service/fleet/probe.h"

namespace holdfast::fleet {

using namespace std::chrono_literals;

class HttpProberTest : public testing::Test {
protected:
    ProbeResult probe(const upstream::Kind& kind, bool want_models = false,
                      base::Duration silence_max = 60s) {
        ProbeAsk ask;
        ask.url = instance_.url();
        ask.kind = &kind;
        ask.want_models = want_models;
        ask.silence_max = silence_max;
        return probe(std::move(ask));
    }
    ProbeResult probe(ProbeAsk ask) {
        std::optional<ProbeResult> result;
        asio::co_spawn(loop_, prober_->probe(std::move(ask)),
                       [&](const std::exception_ptr& error, ProbeResult probed) {
                           EXPECT_FALSE(error);
                           result = std::move(probed);
                       });
        while (!result) loop_.run_one();
        return *std::move(result);
    }
    ProbeFailure failure(const upstream::Kind& kind, bool want_models = false) {
        const ProbeResult result = probe(kind, want_models);
        EXPECT_FALSE(result);
        why_ = result ? "" : result.error().why;
        return result ? ProbeFailure::silent : result.error().failure;
    }

    loop::Loop loop_{1};
    base::SystemClock clock_;
    FakeInstance instance_{loop_, clock_};
    std::string why_;
    std::unique_ptr<Prober> prober_ = make_http_prober(loop_, clock_);
};

TEST_F(HttpProberTest, AsksAWorkerForItsReadyPage) {
    instance_.page("/readyz", 200, R"({"ready":true,"model":"tiny-r1","instance_life":"x"})");
    for (int i = 0; i < 3; ++i) {
        const ProbeResult result = probe(upstream::holdfast_kind);
        ASSERT_TRUE(result);
        EXPECT_TRUE(result->answer.ready);
        EXPECT_EQ(result->models->at(0).id, "tiny-r1");
    }
    EXPECT_EQ(instance_.asked().size(), 3U);
    EXPECT_EQ(instance_.connections(), 1U);  // kept alive from probe to probe
}

TEST_F(HttpProberTest, TakesALoadingWorkersAnswerForAnAnswer) {
    instance_.page("/readyz", 503, R"({"ready":false,"reasons":["loading"]})");
    const ProbeResult result = probe(upstream::holdfast_kind);
    ASSERT_TRUE(result);
    EXPECT_FALSE(result->answer.ready);
    EXPECT_EQ(result->answer.reasons, "loading");
}

TEST_F(HttpProberTest, CallsWrongStatusAndWrongBodyGarbage) {
    EXPECT_EQ(failure(upstream::holdfast_kind), ProbeFailure::garbage);
    EXPECT_EQ(why_, "/readyz answered 404");
    instance_.page("/readyz", 200, "fine");
    EXPECT_EQ(failure(upstream::holdfast_kind), ProbeFailure::garbage);
    EXPECT_EQ(why_, "/readyz gave no JSON object");
    instance_.page("/health", 500, "");
    EXPECT_EQ(failure(upstream::vllm_kind), ProbeFailure::garbage);
    instance_.page("/v1/models", 401, "{}");
    EXPECT_EQ(failure(upstream::openai_kind), ProbeFailure::garbage);
    EXPECT_EQ(why_, "/v1/models answered 401");
}

TEST_F(HttpProberTest, CallsWhoNeverAnswersSilent) {
    instance_.page("/readyz", FakeInstance::never);
    const ProbeResult result = probe(upstream::holdfast_kind, false, 20ms);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().failure, ProbeFailure::silent);
}

TEST_F(HttpProberTest, CallsWhoDoesNotListenUnreachable) {
    instance_.die();
    EXPECT_EQ(failure(upstream::holdfast_kind), ProbeFailure::unreachable);
}

TEST_F(HttpProberTest, AsksExternalServersForHealthAndForModelsOnlyWhenWanted) {
    instance_.page("/health", 200, "");
    instance_.page("/v1/models", 200, R"({"data":[{"id":"r1","max_model_len":4096}]})");
    const ProbeResult first = probe(upstream::vllm_kind, true);
    ASSERT_TRUE(first);
    EXPECT_TRUE(first->answer.ready);
    EXPECT_EQ(first->models->at(0).context, 4096U);
    const ProbeResult second = probe(upstream::llama_server_kind, false);
    ASSERT_TRUE(second);
    EXPECT_TRUE(second->answer.ready);
    EXPECT_FALSE(second->models);
    EXPECT_EQ(instance_.asked(), (std::vector<std::string>{"/health", "/v1/models", "/health"}));
    instance_.page("/health", 503, R"({"error":"Loading model"})");
    const ProbeResult third = probe(upstream::llama_server_kind, true);
    ASSERT_TRUE(third);
    EXPECT_FALSE(third->answer.ready);
}

TEST_F(HttpProberTest, TakesAServerThatListsNoModelsForAliveAllTheSame) {
    const ProbeResult unlisted = probe(upstream::openai_kind);
    ASSERT_TRUE(unlisted);
    EXPECT_TRUE(unlisted->answer.ready);
    EXPECT_TRUE(unlisted->models->empty());
    instance_.page("/v1/models", 429, "");
    const ProbeResult busy = probe(upstream::openai_kind);
    ASSERT_TRUE(busy);
    EXPECT_TRUE(busy->answer.ready);
    EXPECT_FALSE(busy->models);
}

TEST_F(HttpProberTest, FindsOutWhatAServerOffers) {
    instance_.page("/health", 200);
    ProbeAsk ask;
    ask.url = instance_.url();
    ask.kind = &upstream::vllm_kind;
    ask.want_offer = true;
    ask.silence_max = ask.trial_silence_max = 60s;
    const upstream::Offer kinds = upstream::vllm_kind.offer;
    const auto offer = [&] {
        const ProbeResult result = probe(ask);
        EXPECT_TRUE(result && result->answer.ready && result->offer_asked);
        return result->offer.value_or(upstream::Offer{});
    };
    EXPECT_EQ(offer(), kinds);
    instance_.page("/tokenize", 200, R"({"tokens":[1],"token_strs":["a"]})");
    EXPECT_TRUE(offer().renders);
    EXPECT_FALSE(offer().tells_ids);
    instance_.page("/v1/completions", 200, "data: {\"choices\":[{\"text\":\"a\"}]}\n\n");
    EXPECT_TRUE(offer().renders);
    EXPECT_FALSE(offer().tells_ids);
    instance_.page("/v1/completions", 200,
                   "data: {\"choices\":[{\"text\":\"a\",\"token_ids\":[5]}]}\n\n");
    EXPECT_TRUE(offer().tells_ids);
    instance_.page("/tokenize", FakeInstance::never);
    ask.silence_max = 20ms;
    const ProbeResult silent = probe(ask);
    EXPECT_TRUE(silent && silent->answer.ready && silent->offer_asked && !silent->offer);
}

TEST_F(HttpProberTest, SeesThatAnEngineHangsBehindItsFront) {
    instance_.page("/health", 200);
    instance_.page("/metrics", 200, "vllm:generation_tokens_total{} 5.0\n");
    ProbeAsk ask;
    ask.url = instance_.url();
    ask.kind = &upstream::vllm_kind;
    ask.want_trial = true;
    ask.silence_max = 60s;
    ask.trial_silence_max = 20ms;
    instance_.page("/v1/completions", FakeInstance::never);
    const ProbeResult hung = probe(ask);
    ASSERT_FALSE(hung);
    EXPECT_EQ(hung.error().failure, ProbeFailure::stuck);
    // The one token has to wait, and others get theirs meanwhile.
    instance_.count_up("/metrics", "vllm:generation_tokens_total{} ");
    const ProbeResult busy = probe(ask);
    EXPECT_TRUE(busy && busy->tried && busy->answer.ready);
    ask.trial_silence_max = 60s;
    instance_.page("/v1/completions", 200, "data: {\"choices\":[{\"text\":\"a\"}]}\n\n");
    const ProbeResult good = probe(ask);
    EXPECT_TRUE(good && good->tried);
    instance_.page("/v1/completions", 500);
    EXPECT_EQ(probe(ask).error().failure, ProbeFailure::stuck);
}

}  // namespace holdfast::fleet
