// /tokenize and /detokenize against scripted instances over loopback, all in one thread.
#include "service/gateway/conversion.h"

#include <gmock/gmock.h>

#include <deque>

#include "service/gateway/test_world.h"

namespace holdfast::gateway {
namespace {

using testing::HasSubstr;
using upstream::Kind;

constexpr std::string_view tokenized = R"({"count":1,"max_model_len":64,"tokens":[7]})";

// Gives its answers in turn, and the last one for ever. Status 0 breaks the connection.
struct Instance {
    Instance(loop::Loop& loop, const base::Clock& clock)
        : server(loop, clock, [this](http::Request request, http::Responder& responder) {
              return reply(std::move(request), responder);
          }) {}
    loop::Task<void> reply(http::Request request, http::Responder& responder) {
        asked.push_back(request.path + " " + request.body);
        auto [status, body] = answers.front();
        if (answers.size() > 1) answers.pop_front();
        if (status == 0) co_return;
        http::Response response{status, {}, std::move(body)};
        (void)co_await responder.send(std::move(response));
    }

    LocalServer server;
    std::deque<std::pair<int, std::string>> answers{{200, std::string(tokenized)}};
    std::vector<std::string> asked;
};

class ConversionTest : public GatewayTest<Instance> {
protected:
    ConversionTest() : GatewayTest(std::chrono::milliseconds(50)) {}

    void publish(const Kind& first, const Kind& second, std::string_view second_model = "m") {
        GatewayTest::publish([&](fleet::Instance& instance) {
            const bool is_first = instance.id == "a";
            instance.model = is_first ? "m" : second_model;
            instance.upstream_model = "up";
            instance.peer = is_first ? first : second;
            instance.context = 128;
        });
    }

    // Status and body of the gateway's answer.
    std::string ask(std::string path, std::string body) {
        http::ClientRequest request{"POST", std::move(path), {}, std::move(body)};
        request.headers.add("Content-Type", "application/json");
        const Seen seen = GatewayTest::ask(std::move(request));
        EXPECT_EQ(journal_.entries_open(), 0);
        return fmt::format("{} {}", seen.status, seen.body);
    }
};

}  // namespace

TEST_F(ConversionTest, AsksAnInstanceOfTheModel) {
    publish(upstream::holdfast_kind, upstream::holdfast_kind, "other");
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
    publish(upstream::holdfast_kind, upstream::holdfast_kind);
    EXPECT_THAT(ask("/tokenize", R"({"prompt":"x"})"), HasSubstr("200 {\"count\":1"));
    EXPECT_THAT(ask("/tokenize", "{"), HasSubstr("400 {\"error\""));
    EXPECT_THAT(ask("/detokenize", "{}"), HasSubstr("\"param\":\"tokens\""));
}

TEST_F(ConversionTest, TriesAgainWhereAnInstanceFails) {
    publish(upstream::holdfast_kind, upstream::holdfast_kind);
    for (const auto& failure :
         {std::pair(0, std::string()), std::pair(500, std::string("no")),
          std::pair(200, std::string("garbage")), std::pair(503, std::string("full"))}) {
        a_.answers = b_.answers = {failure, {200, std::string(tokenized)}};
        a_.asked.clear(), b_.asked.clear();
        EXPECT_THAT(ask("/tokenize", R"({"prompt":"x"})"),
                    testing::AnyOf(HasSubstr("200 {\"count\":1"), HasSubstr("503 ")))
            << failure.first;
        EXPECT_GE(a_.asked.size() + b_.asked.size(), 2U);
        view_.update(fleet_.now);
    }
}

TEST_F(ConversionTest, ShowsTheClientsOwnErrorsWithoutTryingAgain) {
    publish(upstream::holdfast_kind, upstream::holdfast_kind);
    a_.answers =
        b_.answers = {{400, R"({"error":{"message":"Token 9 does not exist.","param":"tokens"}})"}};
    const std::string seen = ask("/detokenize", R"({"tokens":[9]})");
    EXPECT_THAT(seen, HasSubstr("400 "));
    EXPECT_THAT(seen, HasSubstr("Token 9 does not exist."));
    EXPECT_THAT(seen, HasSubstr("\"param\":\"tokens\""));
    EXPECT_EQ(a_.asked.size() + b_.asked.size(), 1U);
}

TEST_F(ConversionTest, PassesByInstancesThatOfferNoSuchThing) {
    publish(upstream::openai_kind, upstream::llama_server_kind);
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

    publish(upstream::vllm_kind, upstream::vllm_kind);
    a_.answers = b_.answers = {{404, "{}"}};
    EXPECT_THAT(ask("/tokenize", R"({"prompt":"x"})"), HasSubstr("501 "));
    for (const auto& [id, outcome] : fleet_.reports) EXPECT_NE(outcome, fleet::Outcome::sick) << id;
}

TEST_F(ConversionTest, GivesUpWhenNothingIsReady) {
    EXPECT_THAT(ask("/tokenize", R"({"prompt":"x"})"), HasSubstr("503 "));
    EXPECT_TRUE(a_.asked.empty());
}

}  // namespace holdfast::gateway
