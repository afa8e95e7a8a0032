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
    int cut_after = -1;    // events until the connection breaks; -1: never
    int status = 200;      // another one is answered at once
    bool garbage = false;  // the next event is no chunk
    bool silent = false;   // the head comes, then only comments
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
        http::Headers headers;
        headers.add("Content-Type", "text/event-stream");
        headers.add("x-holdfast-fingerprint", "F");
        responder.start(200, std::move(headers));
        while (act.silent) {
            if (auto written = co_await responder.write(": ping\n\n"); !written) co_return;
            co_await loop::sleep_for(std::chrono::milliseconds(10));
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

    // What the fleet says of an instance that died and is back at once.
    void restart(const std::string& id) {
        auto without = std::make_shared<fleet::Snapshot>(*fleet_.now);
        for (fleet::Instance& instance : without->instances)
            if (instance.id == id) instance.state = fleet::State::down;
        view_.update(without);
        view_.update(fleet_.now);
    }

    void publish(fleet::State state,
                 upstream::InstanceKind kind = upstream::InstanceKind::holdfast) {
        GatewayTest::publish([&](fleet::Instance& instance) {
            instance.fingerprint = "F";
            instance.state = state;
            instance.kind = kind;
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
    options_.ping_every = std::chrono::milliseconds(20);
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
        a_.acts = b_.acts = {{.status = status}};
        const Seen seen = ask(streamed_);
        a_.acts.clear(), b_.acts.clear();
        if (status == 500) {
            EXPECT_EQ(content(seen), whole_text());
        } else {  // both were busy: that is for the client to know, at once
            EXPECT_EQ(seen.status, 503) << seen.body;
        }
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
    a_.acts = b_.acts = {{.silent = true}};
    const Seen seen = ask(whole_, {{"x-holdfast-timeout-ms", "100"}});
    EXPECT_EQ(seen.status, 504) << seen.body;
    EXPECT_NE(seen.body.find("deadline_exceeded"), std::string::npos) << seen.body;
    EXPECT_TRUE(fleet_.reports.empty());
}

TEST_F(ExchangeTest, TakesAnInstanceThatHasNoTokenInTimeForABusyOne) {
    options_.timeouts.first_token = std::chrono::milliseconds(100);
    a_.acts = b_.acts = {{.silent = true}};
    const Seen seen = ask(whole_);
    EXPECT_EQ(seen.status, 503) << seen.body;
    EXPECT_EQ(fleet_.reports.count({"a", fleet::Outcome::busy}), 1);
    EXPECT_EQ(fleet_.reports.count({"b", fleet::Outcome::busy}), 1);
}

TEST_F(ExchangeTest, DoesNotGoOnFromTextAtAWorker) {
    publish(fleet::State::ready, upstream::InstanceKind::vllm);
    fleet_.on_lost = [this](const std::string& id) {
        publish(fleet::State::ready, upstream::InstanceKind::holdfast);
        restart(id);
    };
    options_.timeouts.total = std::chrono::milliseconds(300);
    a_.acts = b_.acts = {{.cut_after = 3}};
    const Seen seen = ask(streamed_);
    EXPECT_EQ(seen.resume, "same-model");
    EXPECT_EQ(content(seen), "<0><1><2>");
    EXPECT_NE(seen.body.find("\"error\""), std::string::npos) << seen.body;
    EXPECT_EQ(seen.body.find("[DONE]"), std::string::npos);
}

TEST_F(ExchangeTest, RefusesAtOnceWhenTheJournalHasNoRoom) {
    std::vector<Journal::EntryId> held;
    while (auto id = journal_.open("r", 0, "/p", "b")) held.push_back(*id);
    const Seen seen = ask(whole_);
    EXPECT_EQ(seen.status, 503);
    EXPECT_TRUE(a_.bodies.empty() && b_.bodies.empty());
    for (const auto id : held) journal_.close(id);
}

}  // namespace
}  // namespace holdfast::gateway
