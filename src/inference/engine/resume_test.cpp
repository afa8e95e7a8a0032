// An answer that was cut after any event goes on as if nothing had happened.
#include <gtest/gtest.h>

#include "inference/engine/test_world.h"

namespace holdfast::engine {
namespace {

// What a client would have delivered to the next instance after the first `count` events.
chat::Resume delivered(const Answer& answer, std::size_t count, std::uint32_t choices) {
    chat::Resume resume;
    resume.ids.resize(choices);
    for (std::size_t i = 0; i < count; ++i) {
        const chat::Event& event = answer.events[i];
        auto& ids = resume.ids[event.choice];
        ids.insert(ids.end(), event.ids.begin(), event.ids.end());
    }
    return resume;
}

// The events that must come after the first `count`: those that had not come, and for choices that
// had finished a bare finish.
std::vector<std::vector<std::string>> expected_rest(const Answer& answer, std::size_t count,
                                                    std::uint32_t choices) {
    std::vector<std::vector<std::string>> rest(choices);
    for (std::size_t i = 0; i < answer.events.size(); ++i) {
        const chat::Event& event = answer.events[i];
        if (i >= count) {
            rest[event.choice].push_back(describe(event));
        } else if (event.finish) {
            rest[event.choice].push_back(
                describe({.choice = event.choice, .finish = event.finish}));
        }
    }
    return rest;
}

void expect_exact_resume_everywhere(const chat::Generation& request, World& world) {
    const Answer whole = answer_alone(request);
    ASSERT_TRUE(whole.complete());
    for (std::size_t cut = 0; cut <= whole.events.size(); ++cut) {
        chat::Generation again = request;
        again.resume = delivered(whole, cut, request.choices);
        const Answer rest = world.answer(again);
        ASSERT_TRUE(rest.complete()) << "cut after event " << cut;
        const auto expected = expected_rest(whole, cut, request.choices);
        ASSERT_EQ(rest.choices.size(), request.choices);
        for (std::uint32_t choice = 0; choice < request.choices; ++choice)
            ASSERT_EQ(rest.choices[choice].events, expected[choice])
                << "cut after event " << cut << ", choice " << choice;
        ASSERT_EQ(rest.usage->prompt_tokens, whole.usage->prompt_tokens);
        ASSERT_EQ(rest.usage->completion_tokens, whole.usage->completion_tokens);
        ASSERT_EQ(rest.usage->reasoning_tokens, whole.usage->reasoning_tokens);
    }
}

void expect_exact_resume_everywhere(const chat::Generation& request) {
    World fresh({.prefix_cache = false});
    expect_exact_resume_everywhere(request, fresh);
    World caching({.prefill_tokens_max = 21}, {.blocks = 24});
    expect_exact_resume_everywhere(request, caching);
}

class ResumeTest : public EachRunner {};
HF_ON_EACH_RUNNER(ResumeTest);

chat::Generation chat_request(std::uint64_t seed) {
    chat::Generation request;
    request.prompt = std::vector<chat::Message>{{.role = chat::Role::user, .content = "Hello"}};
    request.sampling.seed = seed;
    request.stopping.max_tokens = 60;
    request.stopping.ignore_eos = true;
    return request;
}

}  // namespace

TEST_P(ResumeTest, IsExactAtEveryEventOfVariedRequests) {
    for (std::uint32_t i = 0; i < 24; ++i) {
        SCOPED_TRACE(fmt::format("request {}", i));
        expect_exact_resume_everywhere(varied_request(i));
        if (HasFatalFailure()) return;
    }
}

TEST_P(ResumeTest, IsExactWithEverythingAtOnce) {
    chat::Generation request = chat_request(3);
    request.choices = 2;
    request.logprobs = 3;
    request.sampling.repetition_penalty = 1.2F;
    request.sampling.presence_penalty = 0.5F;
    request.sampling.frequency_penalty = 0.3F;
    request.sampling.top_p = 0.9F;
    request.stopping.min_tokens = 12;
    request.stopping.ignore_eos = false;
    request.stopping.stop = {"stop!", "opst", "\xE4\xB8\x96"};
    expect_exact_resume_everywhere(request);
    request.stopping.stop_in_reasoning = true;
    expect_exact_resume_everywhere(request);
}

// The stop string is cut from the answer itself, across tokens, so that it is sure to be met and
// much of it is held back on the way.
TEST_P(ResumeTest, ComesOutExactlyWhereTextWasHeldBackForAStopString) {
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
        chat::Generation request = chat_request(seed);
        request.prompt = std::string("Tell");
        const Answer free = answer_alone(request);
        const std::string& text = free.choices[0].content;
        std::size_t begin = text.size() / 2;
        while ((static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) ++begin;
        std::size_t end = begin + 12;
        while ((static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
        request.stopping.stop = {text.substr(begin, end - begin)};
        const Answer stopped = answer_alone(request);
        ASSERT_EQ(stopped.choices[0].finish, chat::FinishReason::stop);
        ASSERT_EQ(stopped.choices[0].content, text.substr(0, text.find(request.stopping.stop[0])));
        expect_exact_resume_everywhere(request);
        if (HasFatalFailure()) return;
    }
}

TEST_P(ResumeTest, OffersReplayedBlocksToTheNextResume) {
    World world;
    chat::Generation request = chat_request(1);
    const Answer whole = answer_alone(request);
    request.resume = delivered(whole, 50, 1);
    world.answer(request);
    const std::size_t computed = world.model.computed_tokens;
    world.answer(request);
    EXPECT_LE(world.model.computed_tokens - computed, 16U + 9U)
        << "only the last block and the new tokens";
}

TEST_P(ResumeTest, RefusesIdsBeyondTheEndOfTheAnswer) {
    World world;
    chat::Generation request = chat_request(1);
    request.stopping.max_tokens = 3;
    request.resume = chat::Resume{{{'a', 'b', 'c', 'd'}}};
    const auto refused = world.try_submit(request);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, base::Code::invalid);

    request.stopping.ignore_eos = false;
    request.resume = chat::Resume{{{'a', FakeTokenizer::eos, 'c'}}};
    EXPECT_FALSE(world.try_submit(request));
    request.resume = chat::Resume{{{'a', FakeTokenizer::eos}}};
    EXPECT_TRUE(world.try_submit(request));
}

TEST_P(ResumeTest, RefusesIdsThatDoNotExistAndTooManyChoices) {
    World world;
    chat::Generation request = chat_request(1);
    for (const chat::TokenId id : {-1, 299, 300, 1 << 30}) {
        request.resume = chat::Resume{{{id}}};
        const auto refused = world.try_submit(request);
        ASSERT_FALSE(refused) << id;
        EXPECT_EQ(refused.error().code, base::Code::invalid);
    }
    request.resume = chat::Resume{{{'a'}, {'b'}}};
    EXPECT_FALSE(world.try_submit(request));
}

}  // namespace holdfast::engine
