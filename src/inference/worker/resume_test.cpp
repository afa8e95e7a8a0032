// The promise that shapes everything, at the worker's door: an answer that another worker goes on
// with is the answer that the first would have given.
#include <gtest/gtest.h>

#include "common/upstream/call.h"
#include "common/upstream/reader.h"
#include "inference/worker/test_world.h"

namespace holdfast::worker {
namespace {

std::shared_ptr<engine::Engine> make_engine(const base::Clock& clock) {
    return engine::make_engine(std::make_unique<engine::FakeModel>(),
                               std::make_shared<engine::FakeTokenizer>(), text::ChatTemplate(),
                               engine::Options(), clock);
}

// The body of a chunked answer.
std::string body_of(const std::string& answer) {
    std::string body;
    std::size_t at = answer.find("\r\n\r\n") + 4;
    while (true) {
        const std::size_t size = std::stoul(answer.substr(at), nullptr, 16);
        if (size == 0) return body;
        at = answer.find("\r\n", at) + 2;
        body += answer.substr(at, size);
        at += size + 2;
    }
}

// The events of one attempt, as the gateway reads them.
std::vector<chat::Event> attempt(World& world, const chat::Request& request) {
    const auto call = upstream::encode(request, upstream::holdfast_kind, "r1", {});
    auto socket = world.connect();
    socket.send(World::post(call.path, call.body));
    upstream::Reader reader(upstream::holdfast_kind, request.generation, {});
    reader.feed(body_of(socket.read_until("\r\n0\r\n\r\n")));
    std::vector<chat::Event> events;
    bool done = false;
    while (!done) {
        auto read = reader.next();
        if (!read) ADD_FAILURE() << read.error().what;
        if (!read || !*read) break;
        if ((*read)->event) events.push_back(*std::move((*read)->event));
        done = (*read)->done;
    }
    EXPECT_TRUE(done);
    return events;
}

struct Joined {
    std::vector<chat::TokenId> ids;
    std::string reasoning, content;
    std::vector<float> logprobs;
    std::optional<chat::FinishReason> finish;
    std::uint32_t prompt_tokens = 0, completion_tokens = 0, reasoning_tokens = 0;

    void add(const chat::Event& event) {
        ids.insert(ids.end(), event.ids.begin(), event.ids.end());
        reasoning += event.reasoning;
        content += event.content;
        for (const auto& score : event.scores) logprobs.push_back(score.logprob);
        if (event.finish) finish = event.finish;
        if (!event.usage) return;
        prompt_tokens = event.usage->prompt_tokens;
        completion_tokens = event.usage->completion_tokens;
        reasoning_tokens = event.usage->reasoning_tokens;
    }
    friend bool operator==(const Joined&, const Joined&) = default;
};

void expect_same_after_every_event(const chat::Request& request) {
    const base::SystemClock clock;
    World first, second;
    first.adopt(make_engine(clock));
    second.adopt(make_engine(clock));
    const auto events = attempt(first, request);
    ASSERT_GT(events.size(), 3U);
    Joined whole;
    for (const chat::Event& event : events) whole.add(event);
    ASSERT_TRUE(whole.finish.has_value());
    // Lost after `kept` events. Usage comes last, and only a whole answer has it.
    for (std::size_t kept = 0; kept < events.size(); ++kept) {
        Joined joined;
        for (std::size_t i = 0; i < kept; ++i) joined.add(events[i]);
        chat::Request again = request;
        again.generation.resume = chat::Resume{{joined.ids}};
        for (const chat::Event& event : attempt(second, again)) joined.add(event);
        EXPECT_EQ(joined, whole) << "lost after " << kept << " events";
    }
}

TEST(Resume, GoesOnWithASampledAnswerAfterAnyEvent) {
    chat::Request request;
    request.generation.prompt = std::vector<chat::Message>{{chat::Role::user, "How many?", ""}};
    request.generation.sampling.seed = 7;
    request.generation.stopping.max_tokens = 40;
    request.generation.logprobs = 0;
    expect_same_after_every_event(request);
}

TEST(Resume, GoesOnWithAnAnswerUnderPenaltiesAndStopStrings) {
    chat::Request request;
    request.generation.prompt = std::string("Once");
    request.generation.sampling.seed = 11;
    request.generation.sampling.repetition_penalty = 1.3F;
    request.generation.sampling.frequency_penalty = 0.5F;
    request.generation.stopping.max_tokens = 60;
    request.generation.stopping.min_tokens = 20;
    request.generation.stopping.stop = {"stop!", "zz"};
    expect_same_after_every_event(request);
}

}  // namespace
}  // namespace holdfast::worker
