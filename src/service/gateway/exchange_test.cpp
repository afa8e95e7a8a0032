// Exchanges against scripted instances over loopback, all in one thread.
#include "service/gateway/exchange.h"

#include <deque>
#include <set>

#include "common/loop/sleep.h"
#include "service/gateway/test_world.h"

namespace holdfast::gateway {
namespace {

constexpr int tokens = 12;

// What an instance does with its next requests, in turn; after the last one it behaves well.
struct Act {
    int cut_after = -1;     // events until the connection breaks; -1: never
    int status = 200;       // another one is answered at once
    bool garbage = false;   // the next event is no chunk
    int pings = 0;          // comments before the first event, one every 20 ms
    bool mute = false;      // nothing comes, not even the head, until the gateway has had enough
    int wait_ms = 0;        // before the head
    std::string says;       // then only this, and the connection breaks
    bool for_ever = false;  // the same again and again
};

// Speaks the worker protocol; "token" i is the text "<i>".
class ScriptedInstance {
public:
    ScriptedInstance(loop::Loop& loop, const base::Clock& clock)
        : server(loop, clock, [this](http::Request request, http::Responder& responder) {
              return answer(std::move(request), responder);
          }) {}

    LocalServer server;
    std::deque<Act> acts;
    std::string fingerprint = "F";
    std::vector<std::string> bodies;

private:
    static int resumed(const std::string& body) {
        const auto at = body.find("\"resume\":[[");
        if (at == std::string::npos) return 0;
        const std::string list = body.substr(at + 11, body.find(']', at) - at - 11);
        return static_cast<int>(std::ranges::count(list, ',')) + 1;
    }

    loop::Task<void> answer(http::Request request, http::Responder& responder) {
        bodies.push_back(request.body);
        Act act;
        if (!acts.empty()) {
            act = acts.front();
            acts.pop_front();
        }
        if (act.status != 200) {
            http::Response refusal{act.status, {}, R"({"error":{"message":"no","code":"x"}})"};
            (void)co_await responder.send(std::move(refusal));
            co_return;
        }
        while (act.mute && !responder.client_gone())
            co_await loop::sleep_for(std::chrono::milliseconds(10));
        if (act.wait_ms > 0) co_await loop::sleep_for(std::chrono::milliseconds(act.wait_ms));
        http::Headers headers;
        headers.add("Content-Type", "text/event-stream");
        headers.add("x-holdfast-fingerprint", fingerprint);
        responder.start(200, std::move(headers));
        for (; act.pings > 0; --act.pings) {
            if (auto written = co_await responder.write(": ping\n\n"); !written) co_return;
            co_await loop::sleep_for(std::chrono::milliseconds(20));
        }
        while (!act.says.empty()) {
            if (auto written = co_await responder.write(act.says); !written) co_return;
            if (!act.for_ever) co_return;
        }
        for (int i = resumed(request.body), sent = 0; i < tokens; ++i, ++sent) {
            if (sent == act.cut_after) co_return;
            const std::string text = act.garbage ? "data: {\"choices\":7}\n\n" : chunk(i);
            if (auto written = co_await responder.write(text); !written) co_return;
        }
        const std::string end = usage();
        (void)co_await responder.finish(end);
    }

    static std::string chunk(int i) {
        const bool last = i == tokens - 1;
        return fmt::format(
            R"(data: {{"id":"w","object":"chat.completion.chunk","created":1,"model":"m","choices":[)"
            R"({{"index":0,"delta":{{"content":"<{}>"}},"finish_reason":{}}}],"holdfast":{{"ids":[{}]}}}})"
            "\n\n",
            i, last ? "\"stop\"" : "null", 100 + i);
    }
    static std::string usage() {
        return R"(data: {"id":"w","object":"chat.completion.chunk","created":1,"model":"m",)"
               R"("choices":[],"usage":{"prompt_tokens":5,"completion_tokens":12,"total_tokens":17}})"
               "\n\ndata: [DONE]\n\n";
    }
};

class ExchangeTest : public GatewayTest<ScriptedInstance> {
protected:
    ExchangeTest() : GatewayTest(std::chrono::milliseconds(200)) {
        publish(fleet::State::ready);
        fleet_.on_lost = [this](const std::string& id) { restart(id); };
    }

    // What the fleet says of an instance that died and is back at once, as another process.
    void restart(const std::string& id) {
        auto without = std::make_shared<fleet::Snapshot>(*fleet_.now);
        auto with = std::make_shared<fleet::Snapshot>(*fleet_.now);
        for (std::size_t i = 0; i < with->instances.size(); ++i) {
            if (with->instances[i].id != id) continue;
            without->instances[i].state = fleet::State::down;
            ++with->instances[i].life;
        }
        view_.update(without);
        fleet_.now = with;
        view_.update(with);
    }

    std::size_t reported(fleet::Outcome outcome) const {
        return fleet_.reports.count({"a", outcome}) + fleet_.reports.count({"b", outcome});
    }

    void publish(fleet::State state, const upstream::Kind& kind = upstream::holdfast_kind) {
        GatewayTest::publish([&](fleet::Instance& instance) {
            instance.fingerprint = "F";
            instance.state = state;
            instance.peer = kind;
        });
    }

    Seen ask(const std::string& body, const std::vector<http::Headers::Field>& fields = {}) {
        http::ClientRequest request{"POST", "/v1/chat/completions", {}, body};
        for (const auto& [name, value] : fields) request.headers.add(name, value);
        return GatewayTest::ask(std::move(request));
    }

    // The concatenated content of a stream, and whether it ended properly.
    static std::string content(const Seen& seen) {
        std::string text;
        constexpr std::string_view field = "\"content\":\"";
        for (auto at = seen.body.find(field); at != std::string::npos;
             at = seen.body.find(field, at + 1)) {
            const auto begin = at + field.size();
            text += seen.body.substr(begin, seen.body.find('"', begin) - begin);
        }
        return text;
    }

    static std::string whole_text() {
        std::string text;
        for (int i = 0; i < tokens; ++i) text += fmt::format("<{}>", i);
        return text;
    }

    const std::string streamed_ =
        R"({"model":"m","stream":true,"stream_options":{"include_usage":true},)"
        R"("messages":[{"role":"user","content":"hi"}]})";
    const std::string whole_ = R"({"model":"m","messages":[{"role":"user","content":"hi"}]})";
};

TEST_F(ExchangeTest, CarriesAStreamOverALossAtEveryToken) {
    for (int cut = 0; cut < tokens; ++cut) {
        // Whichever is asked first breaks; the other one, or the same again, goes on.
        a_.acts = b_.acts = {{.cut_after = cut}};
        const Seen seen = ask(streamed_);
        EXPECT_EQ(seen.status, 200);
        EXPECT_EQ(seen.resume, "exact");
        EXPECT_EQ(content(seen), whole_text()) << "cut after " << cut << ": " << seen.body;
        EXPECT_TRUE(seen.body.ends_with("data: [DONE]\n\n"));
        EXPECT_EQ(journal_.entries_open(), 0);
        EXPECT_EQ(journal_.pages_free(), journal_.pages_total());
        a_.acts.clear(), b_.acts.clear();
    }
    EXPECT_GE(fleet_.reports.count({"a", fleet::Outcome::lost}) +
                  fleet_.reports.count({"b", fleet::Outcome::lost}),
              tokens);
}

TEST_F(ExchangeTest, CarriesAWholeAnswerOverALoss) {
    a_.acts = b_.acts = {{.cut_after = 5}};
    const Seen seen = ask(whole_);
    EXPECT_EQ(seen.status, 200);
    EXPECT_NE(seen.body.find("\"content\":\"" + whole_text()), std::string::npos) << seen.body;
    const std::string& last =
        a_.bodies.size() > b_.bodies.size() ? a_.bodies.back() : b_.bodies.back();
    EXPECT_EQ(a_.bodies.size() + b_.bodies.size(), 3U) << last;
}

TEST_F(ExchangeTest, WaitsWithABegunAnswerForAnInstanceThatHasRoom) {
    const Act busy{.status = 503};
    a_.acts = b_.acts = {{.cut_after = 5}, busy, busy};
    const Seen seen = ask(streamed_);
    EXPECT_EQ(content(seen), whole_text()) << seen.body;
    EXPECT_TRUE(seen.body.ends_with("data: [DONE]\n\n"));
}

TEST_F(ExchangeTest, KeepsABegunStreamAliveUntilNobodyCanGoOnWithItInTime) {
    options_.pings.every = std::chrono::milliseconds(20);
    options_.timeouts.resume = std::chrono::milliseconds(200);
    fleet_.on_lost = [this](const std::string&) {
        publish(fleet::State::down);
        view_.update(fleet_.now);
    };
    a_.acts = b_.acts = {{.cut_after = 3}};
    const Seen seen = ask(streamed_);
    EXPECT_EQ(content(seen), "<0><1><2>");
    EXPECT_NE(seen.body.find(": ping"), std::string::npos) << seen.body;
    EXPECT_NE(seen.body.find("no_ready_instance"), std::string::npos) << seen.body;
}

TEST_F(ExchangeTest, SendsTheSameSeedToEveryAttempt) {
    a_.acts = b_.acts = {{.cut_after = 2}};
    ask(streamed_);
    std::set<std::string> seeds;
    for (const auto* instance : {&a_, &b_}) {
        for (const std::string& body : instance->bodies) {
            const auto at = body.find("\"seed\":");
            ASSERT_NE(at, std::string::npos);
            seeds.insert(body.substr(at, body.find_first_of(",}", at) - at));
        }
    }
    EXPECT_EQ(seeds.size(), 1U);
}

TEST_F(ExchangeTest, GoesElsewhereBeforeTheFirstByteWhenAnInstanceFailsOrIsBusy) {
    for (const int status : {500, 503, 429}) {
        SCOPED_TRACE(status);
        a_.bodies.clear();
        while (a_.bodies.empty()) {  // ties are broken by chance
            a_.acts = {{.status = status}};
            b_.bodies.clear();
            EXPECT_EQ(content(ask(streamed_)), whole_text());
        }
        EXPECT_EQ(a_.bodies.size(), 1U);
        EXPECT_EQ(b_.bodies.size(), 1U);
    }
}

TEST_F(ExchangeTest, BeginsAgainWhenAllInstancesHaveFailedOnce) {
    a_.acts = b_.acts = {{.status = 500}};
    EXPECT_EQ(content(ask(streamed_)), whole_text());
}

TEST_F(ExchangeTest, TellsTheClientAtOnceWhenAllInstancesAreBusy) {
    for (const int status : {503, 429}) {
        a_.acts = b_.acts = {{.status = status}};
        EXPECT_EQ(ask(streamed_).status, 503);
        EXPECT_TRUE(a_.acts.empty() && b_.acts.empty()) << "one of them was not asked";
    }
}

TEST_F(ExchangeTest, PassesAClientErrorOnWithoutAnotherAttempt) {
    a_.acts = b_.acts = {{.status = 400}};
    const Seen seen = ask(whole_);
    EXPECT_EQ(seen.status, 400);
    EXPECT_EQ(a_.bodies.size() + b_.bodies.size(), 1U);
}

TEST_F(ExchangeTest, GivesUpOnAPromptThatBreaksEveryInstanceWithoutAToken) {
    for (int i = 0; i < 10; ++i) {
        a_.acts.push_back({.cut_after = 0});
        b_.acts.push_back({.cut_after = 0});
    }
    const Seen seen = ask(streamed_);
    EXPECT_EQ(seen.status, 503) << seen.body;
    EXPECT_EQ(a_.bodies.size() + b_.bodies.size(), options_.fruitless_attempts_max);
}

TEST_F(ExchangeTest, TreatsGarbageAsSicknessAndGoesElsewhere) {
    a_.acts = b_.acts = {{.garbage = true}};
    const Seen seen = ask(streamed_);
    EXPECT_EQ(content(seen), whole_text());
    EXPECT_EQ(fleet_.reports.count({"a", fleet::Outcome::sick}) +
                  fleet_.reports.count({"b", fleet::Outcome::sick}),
              2U);
}

TEST_F(ExchangeTest, AnswersWithAClear503WhenNoInstanceBecomesReadyInTime) {
    publish(fleet::State::down);
    const Seen seen = ask(whole_);
    EXPECT_EQ(seen.status, 503);
    EXPECT_NE(seen.body.find("no_ready_instance"), std::string::npos) << seen.body;
}

TEST_F(ExchangeTest, DoesNotBlameAnInstanceForTheClientsHaste) {
    a_.acts = b_.acts = {{.mute = true}};
    const Seen seen = ask(whole_, {{"x-holdfast-timeout-ms", "100"}});
    EXPECT_EQ(seen.status, 504) << seen.body;
    EXPECT_NE(seen.body.find("deadline_exceeded"), std::string::npos) << seen.body;
    EXPECT_TRUE(fleet_.reports.empty());
}

TEST_F(ExchangeTest, TakesAnInstanceThatHasNoTokenInTimeForABusyOne) {
    options_.timeouts.first_token = std::chrono::milliseconds(100);
    a_.acts = b_.acts = {{.mute = true}};
    const Seen seen = ask(whole_);
    EXPECT_EQ(seen.status, 503) << seen.body;
    EXPECT_EQ(fleet_.reports.count({"a", fleet::Outcome::busy}), 1);
    EXPECT_EQ(fleet_.reports.count({"b", fleet::Outcome::busy}), 1);
}

// A worker pings only while it makes progress: that is as good as a token.
TEST_F(ExchangeTest, WaitsForAPrefillThatTakesLongerThanAnyLimit) {
    options_.timeouts.first_token = options_.timeouts.token_gap = std::chrono::milliseconds(400);
    a_.acts = b_.acts = {{.pings = 40}};
    for (const std::string& body : {streamed_, whole_}) {
        const Seen seen = ask(body);
        EXPECT_EQ(seen.status, 200) << seen.body;
        EXPECT_NE(seen.body.find("<11>"), std::string::npos) << seen.body;
    }
    EXPECT_EQ(a_.bodies.size() + b_.bodies.size(), 2U);
    EXPECT_EQ(reported(fleet::Outcome::ok), 2U);
}

TEST_F(ExchangeTest, PingsAStreamWhileItsInstanceSaysNothingAtAll) {
    options_.pings.every = std::chrono::milliseconds(20);
    a_.acts = b_.acts = {{.wait_ms = 300}};
    const Seen seen = ask(streamed_);
    EXPECT_EQ(seen.status, 200);
    EXPECT_TRUE(seen.body.starts_with(": ping\n\n")) << seen.body;
    EXPECT_EQ(content(seen), whole_text());
    EXPECT_TRUE(seen.body.ends_with("data: [DONE]\n\n"));
}

TEST_F(ExchangeTest, SendsTheHeadOfAStreamOnceAnInstanceHasTakenIt) {
    options_.pings.head_after = std::chrono::milliseconds(1);
    a_.acts = b_.acts = {{.pings = 20}};
    const Seen seen = ask(streamed_);
    EXPECT_TRUE(seen.body.starts_with(": ping\n\n")) << seen.body;
    EXPECT_EQ(seen.resume, "exact");
    EXPECT_EQ(content(seen), whole_text());
}

TEST_F(ExchangeTest, PingsAStreamThatWaitsForAnInstance) {
    options_.pings.every = std::chrono::milliseconds(20);
    publish(fleet::State::down);
    const Seen seen = ask(streamed_);
    EXPECT_EQ(seen.status, 200);
    EXPECT_EQ(seen.resume, "");
    EXPECT_TRUE(seen.body.starts_with(": ping\n\n")) << seen.body;
    EXPECT_NE(seen.body.find("no_ready_instance"), std::string::npos) << seen.body;
    EXPECT_EQ(seen.body.find("[DONE]"), std::string::npos);
}

TEST_F(ExchangeTest, BeginsAWholeAnswerThatTakesLongWithWhiteSpaceIfItIsTold) {
    options_.pings.whole_after = options_.pings.every = std::chrono::milliseconds(20);
    a_.acts = b_.acts = {{.wait_ms = 300}};
    const Seen seen = ask(whole_);
    EXPECT_EQ(seen.status, 200);
    EXPECT_TRUE(seen.body.starts_with("\n")) << seen.body;
    EXPECT_NE(seen.body.find("\"content\":\"" + whole_text()), std::string::npos) << seen.body;
    // An error has to say so in the body then.
    options_.timeouts.first_token = std::chrono::milliseconds(200);
    a_.acts = b_.acts = {{.mute = true}};
    const Seen failed = ask(whole_);
    EXPECT_EQ(failed.status, 200);
    EXPECT_NE(failed.body.find("\n{\"error\":"), std::string::npos) << failed.body;
}

// What is thrown away with an attempt has brought the client nothing.
TEST_F(ExchangeTest, BoundsTheAttemptsOfAWholeAnswerThatAlwaysBreaksOff) {
    publish(fleet::State::ready, upstream::openai_kind);
    fleet_.on_lost = {};
    options_.timeouts.place = std::chrono::seconds(60);
    options_.fruitless_attempts_max = 3;
    for (int i = 0; i < 20; ++i) {
        a_.acts.push_back({.cut_after = 5});
        b_.acts.push_back({.cut_after = 5});
    }
    const Seen seen = ask(whole_);
    EXPECT_EQ(seen.status, 503) << seen.body;
    EXPECT_EQ(a_.bodies.size() + b_.bodies.size(), 3U);
    // Each counts once, however often it was asked.
    EXPECT_EQ(fleet_.reports.count({"a", fleet::Outcome::lost}), 1);
    EXPECT_EQ(fleet_.reports.count({"b", fleet::Outcome::lost}), 1);
}

TEST_F(ExchangeTest, RefusesAtOnceWhenTheJournalHasNoRoom) {
    std::vector<Journal::EntryId> held;
    while (auto id = journal_.open(
               {.request_id = "r", .path = "/p", .body = "b", .answer_id = {}, .model = {}}))
        held.push_back(*id);
    const Seen seen = ask(whole_);
    EXPECT_EQ(seen.status, 503);
    EXPECT_TRUE(a_.bodies.empty() && b_.bodies.empty());
    for (const auto id : held) journal_.close(id);
}

// An instance that means harm, or has lost its mind: each ends as sickness, the answer goes on
// elsewhere.
class HostileInstanceTest : public ExchangeTest {
protected:
    static std::string event(std::string_view choice, std::string_view rest = "") {
        return fmt::format("data: {{\"choices\":[{}]{}}}\n\n", choice, rest);
    }
    const std::string bounded_ =
        R"({"model":"m","stream":true,"stream_options":{"include_usage":true},"max_tokens":12,)"
        R"("messages":[{"role":"user","content":"hi"}]})";
};

TEST_F(HostileInstanceTest, DoesNotHarmTheAnswer) {
    const std::string text = R"({"index":0,"delta":{"content":"x"}})";
    const Act acts[] = {
        {.says = event(R"({"index":7,"delta":{"content":"x"}})", R"(,"holdfast":{"ids":[1]})")},
        {.says = event(text, R"(,"holdfast":{"ids":[16777216]})")},
        {.says = event(text)},  // text that no id stands for
        {.says = "data: [DONE]\n\n"},
        {.says = "data: " + std::string(10'000'000, '[')},
        {.says = event(text, R"(,"holdfast":)" + std::string(100'000, '['))},
        {.says = ": " + std::string(100'000, 'x') + "\n", .for_ever = true},
        {.says = event(R"({"index":0,"delta":{}})"), .for_ever = true},
    };
    for (const Act& act : acts) {
        SCOPED_TRACE(act.says.substr(0, 100));
        a_.acts = b_.acts = {act};
        fleet_.reports.clear();
        const Seen seen = ask(bounded_);
        a_.acts.clear(), b_.acts.clear();
        EXPECT_EQ(content(seen), whole_text()) << seen.body;
        EXPECT_TRUE(seen.body.ends_with("data: [DONE]\n\n"));
        EXPECT_EQ(reported(fleet::Outcome::sick), 2U);
        EXPECT_EQ(journal_.pages_free(), journal_.pages_total());
    }
}

TEST_F(HostileInstanceTest, IsStoppedWhenItGeneratesMoreThanItWasAskedFor) {
    for (const upstream::Kind* kind : {&upstream::holdfast_kind, &upstream::vllm_kind}) {
        publish(fleet::State::ready, *kind);
        fleet_.reports.clear();
        a_.acts = b_.acts = {
            {.says = event(R"({"index":0,"delta":{"content":"x"}})", R"(,"holdfast":{"ids":[1]})"),
             .for_ever = true}};
        const Seen seen = ask(bounded_);
        a_.acts.clear(), b_.acts.clear();
        EXPECT_LT(content(seen).size(), 200U);
        EXPECT_GE(reported(fleet::Outcome::sick), 1U);
    }
}

TEST_F(HostileInstanceTest, SaysNothingMoreAfterTheEndAndNoImpossibleUsage) {
    const std::string end = event(R"({"index":0,"delta":{"content":"end"},"finish_reason":"stop"})",
                                  R"(,"holdfast":{"ids":[1]})");
    const std::string after =
        event(R"({"index":0,"delta":{"content":"more"}})", R"(,"holdfast":{"ids":[2]})");
    const std::string usage = event("", R"(,"usage":{"prompt_tokens":2000000000,)"
                                        R"("completion_tokens":2000000000,)"
                                        R"("completion_tokens_details":{"reasoning_tokens":9}})");
    a_.acts = b_.acts = {{.says = end + after + end + usage + "data: [DONE]\n\n"}};
    const Seen seen = ask(bounded_);
    EXPECT_EQ(content(seen), "end");
    EXPECT_NE(seen.body.find(R"("prompt_tokens":0,"completion_tokens":1,"total_tokens":1,)"
                             R"("completion_tokens_details":{"reasoning_tokens":1})"),
              std::string::npos)
        << seen.body;
    EXPECT_EQ(a_.bodies.size() + b_.bodies.size(), 1U);
}

TEST_F(HostileInstanceTest, MayNotGoOnWithOtherNumericsThanTheAnswerBeganWith) {
    a_.acts = b_.acts = {{.cut_after = 3}};
    publish(fleet::State::ready);
    fleet_.on_lost = [this](const std::string& id) {
        (id == "a" ? b_ : a_).fingerprint = "G";
        restart(id);
    };
    const Seen seen = ask(streamed_);
    EXPECT_EQ(content(seen), whole_text());
    EXPECT_EQ(reported(fleet::Outcome::sick), 1U);
    a_.fingerprint = b_.fingerprint = std::string(300, 'F');
    options_.fruitless_attempts_max = 2;
    EXPECT_EQ(ask(streamed_).status, 502);
}

}  // namespace
}  // namespace holdfast::gateway
