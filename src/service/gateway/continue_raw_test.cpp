// Raw answers of scripted servers that speak llama-server's form, over loopback, all in one thread.
#include <gmock/gmock.h>

#include <deque>

#include "service/gateway/test_world.h"

namespace holdfast::gateway {
namespace {

using testing::HasSubstr;

const std::vector<std::string> said{"I ", "see", ".\n", "</think>", "\n\n", "So ", "it ", "is."};
constexpr std::string_view prompt = R"("prompt":["<U>hi<A><think>\n")";

class RawServer {
public:
    RawServer(loop::Loop& loop, const base::Clock& clock)
        : server(loop, clock, [this](http::Request request, http::Responder& responder) {
              return answer(std::move(request), responder);
          }) {}

    LocalServer server;
    std::deque<int> cuts;  // of its next answers: events until the connection breaks
    int renders_with = 200;
    std::vector<std::string> bodies;  // of requests for answers
    int rendered = 0;

private:
    // The ids after the prompt's text.
    static std::size_t resumed(const std::string& body) {
        const auto at = body.find(prompt) + prompt.size();
        const std::string rest = body.substr(at, body.find(']', at) - at);
        return static_cast<std::size_t>(std::ranges::count(rest, ','));
    }

    loop::Task<void> answer(http::Request request, http::Responder& responder) {
        if (request.path == "/apply-template") {
            ++rendered;
            http::Response page{renders_with, {}, R"({"prompt":"<U>hi<A><think>\n"})"};
            if (renders_with != 200) page.body = R"({"error":{"message":"bad roles"}})";
            (void)co_await responder.send(std::move(page));
            co_return;
        }
        bodies.push_back(request.body);
        int cut = -1;
        if (!cuts.empty()) {
            cut = cuts.front();
            cuts.pop_front();
        }
        responder.start(200, {});
        const std::size_t before = resumed(request.body);
        for (std::size_t i = before; i < said.size(); ++i) {
            if (cut-- == 0) co_return;
            std::string text;
            json::append_string(text, said[i]);
            const std::string event = fmt::format(
                "data: {{\"content\":{},\"tokens\":[{}],\"stop\":false,\"tokens_predicted\":{},"
                "\"tokens_evaluated\":{}}}\n\n",
                text, 100 + i, i + 1 - before, 5 + before);
            if (auto written = co_await responder.write(event); !written) co_return;
        }
        const std::string end = "data: {\"content\":\"\",\"stop\":true,\"stop_type\":\"eos\"}\n\n";
        (void)co_await responder.finish(end);
    }
};

class ContinueRawTest : public GatewayTest<RawServer> {
protected:
    ContinueRawTest() : GatewayTest(std::chrono::milliseconds(200)) {
        publish_as("llama-server");
        fleet_.on_lost = [this](const std::string&) { publish_as("llama-server"); };
    }

    // Each time they are other processes than before.
    void publish_as(std::string_view kind) {
        ++life_;
        publish([&](fleet::Instance& instance) {
            instance.life = life_;
            instance.peer = **upstream::find_kind(kind);
            instance.peer.offer.renders = instance.peer.offer.tells_ids = true;
        });
    }

    Seen ask(std::string_view more, bool streamed = true) {
        return GatewayTest::ask({"POST",
                                 "/v1/chat/completions",
                                 {},
                                 fmt::format(R"({{"model":"m","messages":[{{"role":"user",)"
                                             R"("content":"hi"}}],"stream":{}{}}})",
                                             streamed, more)});
    }

    static std::string all(const Seen& seen, std::string_view name) {
        std::string text;
        const std::string field = fmt::format("\"{}\":\"", name);
        for (auto at = seen.body.find(field); at != std::string::npos;
             at = seen.body.find(field, at + 1)) {
            const auto begin = at + field.size();
            text += seen.body.substr(begin, seen.body.find('"', begin) - begin);
        }
        return text;
    }

    std::uint64_t life_ = 0;
};

constexpr std::string_view greedy = R"(,"temperature":0,"stream_options":{"include_usage":true})";

TEST_F(ContinueRawTest, CarriesAnAnswerOverALossAtEveryToken) {
    for (int cut = 0; cut <= static_cast<int>(said.size()); ++cut) {
        SCOPED_TRACE(cut);
        a_.cuts = b_.cuts = {cut, -1};
        const Seen seen = ask(greedy);
        EXPECT_EQ(seen.resume, "exact-text");
        EXPECT_EQ(all(seen, "reasoning_content"), "I see.");
        EXPECT_EQ(all(seen, "content"), "So it is.");
        EXPECT_THAT(seen.body, HasSubstr(R"("prompt_tokens":5,"completion_tokens":8)"));
        EXPECT_THAT(seen.body, HasSubstr("data: [DONE]"));
    }
}

TEST_F(ContinueRawTest, AsksForThePromptOnce) {
    a_.cuts = b_.cuts = {3};
    const Seen seen = ask(R"(,"temperature":0)", false);
    EXPECT_EQ(seen.status, 200) << seen.body;
    EXPECT_EQ(all(seen, "content"), "So it is.");
    EXPECT_EQ(a_.rendered + b_.rendered, 1);
    std::vector<std::string> bodies = a_.bodies;
    bodies.insert(bodies.end(), b_.bodies.begin(), b_.bodies.end());
    std::ranges::sort(bodies, {}, &std::string::size);
    ASSERT_EQ(bodies.size(), 3U);  // both broke off after three events
    EXPECT_THAT(bodies[0], HasSubstr(std::string(prompt) + "]"));
    EXPECT_THAT(bodies[1], HasSubstr(std::string(prompt) + ",100,101,102]"));
    EXPECT_THAT(bodies[2], HasSubstr(std::string(prompt) + ",100,101,102,103,104,105]"));
}

TEST_F(ContinueRawTest, FindsStopStringsInTheAnswerAlone) {
    const Seen seen = ask(R"(,"temperature":0,"stop":["\n","t i"])", false);
    EXPECT_EQ(all(seen, "reasoning_content"), "I see.");
    EXPECT_EQ(all(seen, "content"), "So i");
    EXPECT_THAT(seen.body, HasSubstr(R"("completion_tokens":8)"));
    EXPECT_EQ(all(seen, "finish_reason"), "stop");
}

TEST_F(ContinueRawTest, PromisesNoMoreThanTheModelWhereChanceDecides) {
    a_.cuts = b_.cuts = {4};
    const Seen seen = ask(R"(,"temperature":0.6,"seed":7)");
    EXPECT_EQ(seen.resume, "same-model");
    EXPECT_EQ(all(seen, "content"), "So it is.");
}

TEST_F(ContinueRawTest, GoesOnAtNoOtherKind) {
    fleet_.on_lost = [this](const std::string&) { publish_as("vllm"); };
    options_.timeouts.total = std::chrono::milliseconds(300);
    a_.cuts = b_.cuts = {3};
    const Seen seen = ask(greedy);
    EXPECT_EQ(all(seen, "reasoning_content"), "I see.");
    EXPECT_THAT(seen.body, HasSubstr("\"error\""));
}

TEST_F(ContinueRawTest, PassesOnThatAConversationCannotBeRendered) {
    a_.renders_with = b_.renders_with = 400;
    const Seen seen = ask(greedy);
    EXPECT_EQ(seen.status, 400);
    EXPECT_THAT(seen.body, HasSubstr("bad roles"));
    EXPECT_TRUE(fleet_.reports.empty());
}

TEST_F(ContinueRawTest, BeginsAgainWhatSeveralChoicesNeed) {
    publish_as("vllm");
    EXPECT_NE(ask(R"(,"n":2)", false).resume, "exact-text");
    EXPECT_EQ(a_.rendered + b_.rendered, 0);
}

}  // namespace
}  // namespace holdfast::gateway
