#include "inference/engine/core.h"

#include <gtest/gtest.h>

#include "inference/engine/test_world.h"

namespace holdfast::engine {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t varieties = 33;

// Every varied request, each alone in a world of its own with default limits.
const std::vector<Answer>& answers_alone() {
    static const std::vector<Answer> answers = [] {
        std::vector<Answer> all;
        for (std::uint32_t i = 0; i < varieties; ++i)
            all.push_back(answer_alone(varied_request(i)));
        return all;
    }();
    return answers;
}

// Submits all varied requests together and expects each to be answered as if it were alone.
void expect_answers_as_alone(World& world, const std::string& context) {
    std::vector<std::unique_ptr<World::Reader>> readers;
    for (std::uint32_t i = 0; i < varieties; ++i)
        readers.push_back(world.submit(varied_request(i)));
    while (world.core.step())
        for (auto& reader : readers) reader->read();
    for (std::uint32_t i = 0; i < varieties; ++i)
        expect_same(readers[i]->answer, answers_alone()[i],
                    fmt::format("{}, request {}", context, i));
    EXPECT_TRUE(world.core.empty());
    EXPECT_EQ(world.core.stats().blocks_used, 0U);
}

class CoreTest : public EachRunner {};
HF_ON_EACH_RUNNER(CoreTest);

chat::Generation long_request(std::uint32_t max_tokens, char letter = 'q') {
    chat::Generation request;
    request.prompt = std::string(40, letter);
    request.sampling.seed = 5;
    request.stopping.max_tokens = max_tokens;
    request.stopping.ignore_eos = true;
    return request;
}

}  // namespace

TEST_P(CoreTest, VariedAnswersCoverWhatTheContractIsAbout) {
    std::size_t stopped = 0, reasoning = 0, content = 0, multibyte = 0;
    for (const Answer& answer : answers_alone()) {
        ASSERT_TRUE(answer.complete());
        for (const Answer::Choice& choice : answer.choices) {
            stopped += choice.finish == chat::FinishReason::stop;
            reasoning += !choice.reasoning.empty();
            content += !choice.content.empty();
            multibyte += choice.content.find("\xE4\xB8\x96") != std::string::npos ||
                         choice.reasoning.find("\xE4\xB8\x96") != std::string::npos;
        }
    }
    EXPECT_GE(stopped, 5U);
    EXPECT_GE(reasoning, 10U);
    EXPECT_GE(content, 10U);
    EXPECT_GE(multibyte, 1U);
}

TEST_P(CoreTest, AnswersAmongStrangersAsAlone) {
    World world;
    expect_answers_as_alone(world, "default limits");
    EXPECT_EQ(world.core.stats().preemptions, 0U);
}

TEST_P(CoreTest, AnswersTheSameWithAnyPrefillChunkAndBatchSize) {
    for (const std::uint32_t chunk : {1U, 3U, 16U, 17U, 1000U})
        for (const std::uint32_t batch : {1U, 2U, 7U, 512U}) {
            World world({.prefill_tokens_max = chunk}, {.batch_tokens_max = batch});
            expect_answers_as_alone(world, fmt::format("chunk {}, batch {}", chunk, batch));
        }
}

TEST_P(CoreTest, AnswersTheSameWhenSeveralThreadsDraw) {
    for (const std::uint32_t threads : {2U, 3U, 20U}) {
        World world({.speculation_tokens_max = 3}, {.threads = threads});
        expect_answers_as_alone(world, fmt::format("{} threads", threads));
    }
}

TEST_P(CoreTest, AnswersTheSameWithAndWithoutThePrefixCache) {
    World cold({.prefix_cache = false});
    expect_answers_as_alone(cold, "no cache");
    EXPECT_EQ(cold.core.stats().cached_tokens, 0U);

    World warm;
    expect_answers_as_alone(warm, "first round");
    const std::size_t computed = warm.model.computed_tokens;
    expect_answers_as_alone(warm, "second round");
    EXPECT_GT(warm.core.stats().cached_tokens, 500U);
    EXPECT_LT(warm.model.computed_tokens - computed, computed);
}

TEST_P(CoreTest, AnswersTheSameWhenATinyPoolForcesPreemption) {
    for (const bool prefix_cache : {false, true})
        for (const std::uint32_t blocks : {14U, 20U, 40U}) {
            World world({.prefix_cache = prefix_cache}, {.blocks = blocks});
            expect_answers_as_alone(world, fmt::format("{} blocks", blocks));
            if (blocks < 40) EXPECT_GT(world.core.stats().preemptions, 0U);
        }
}

TEST_P(CoreTest, RecomputesAPreemptedChoiceWithoutSayingAnythingTwice) {
    // Each needs 10 blocks in the end, together they have 12.
    World world({}, {.blocks = 12});
    const auto older = world.submit(long_request(120, 'a'));
    const auto younger = world.submit(long_request(120, 'b'));
    while (world.core.step()) {
        older->read();
        younger->read();
        EXPECT_GE(older->answer.events.size(), younger->answer.events.size());
    }
    EXPECT_GT(world.core.stats().preemptions, 0U);
    EXPECT_EQ(older->answer.choices[0].ids.size(), 120U);
    EXPECT_EQ(younger->answer.choices[0].ids.size(), 120U);
    expect_same(younger->answer, answer_alone(long_request(120, 'b')), "the preempted one");
}

TEST_P(CoreTest, ChoicesOfOneRequestShareThePromptsBlocks) {
    World world;
    chat::Generation request = long_request(20);
    request.prompt = std::string(200, 'p');
    request.choices = 4;
    const Answer answer = world.answer(request);
    ASSERT_EQ(answer.choices.size(), 4U);
    EXPECT_NE(answer.choices[0].ids, answer.choices[1].ids);
    EXPECT_EQ(answer.usage->completion_tokens, 80U);
    EXPECT_EQ(answer.usage->prompt_tokens, 201U);
    EXPECT_EQ(answer.usage->cached_tokens, 0U);
    EXPECT_EQ(world.core.stats().cached_tokens, 3U * 192U);
    EXPECT_EQ(world.model.computed_tokens, 201U + 3U * 9U + 4U * 19U);
    EXPECT_EQ(world.answer(request).usage->cached_tokens, 192U) << "of the prompt, once";
}

TEST_P(CoreTest, DecodesRunningChoicesWhileALongPromptIsComputed) {
    World world({.prefill_tokens_max = 32});
    const auto first = world.submit(long_request(100));
    world.core.step();
    world.core.step();
    first->read();
    const std::size_t before = first->answer.events.size();
    chat::Generation request = long_request(1);
    request.prompt = std::string(1000, 'l');
    const auto second = world.submit(request);
    std::size_t steps = 0;
    while (!second->answer.complete()) {
        ASSERT_TRUE(world.core.step());
        ++steps;
        second->read();
    }
    first->read();
    EXPECT_EQ(steps, (1001U + 31U) / 32U + late());
    EXPECT_EQ(first->answer.events.size(), before + steps);
}

TEST_P(CoreTest, StopsComputingForAReaderThatIsBehindAndGoesOnWhenItCaughtUp) {
    World world({.unread_events_max = 8});
    const auto slow = world.submit(long_request(40, 's'));
    const auto quick = world.submit(long_request(60, 'k'));
    while (world.core.step()) quick->read();
    EXPECT_TRUE(quick->answer.complete());
    EXPECT_EQ(world.core.stats().paused, 1U);
    EXPECT_EQ(world.core.stats().running + world.core.stats().waiting, 0U);

    slow->read(3);
    EXPECT_EQ(slow->answer.events.size(), 3U);
    EXPECT_FALSE(world.core.step()) << "more than half of eight are still unread";
    slow->read(1 + late());
    EXPECT_TRUE(world.core.step());
    while (!slow->answer.complete()) {
        slow->read();
        world.core.step();
    }
    expect_same(slow->answer, answer_alone(long_request(40, 's')), "the slow reader's");
}

TEST_P(CoreTest, AReaderThatIsBehindLosesItsBlocksAndItsSeatToOthers) {
    World world({.running_max = 1, .unread_events_max = 8}, {.blocks = 10});
    const auto slow = world.submit(long_request(100, 's'));
    while (world.core.step()) {
    }
    EXPECT_EQ(world.core.stats().paused, 1U);
    const Answer other = world.answer(long_request(100, 'k'));
    EXPECT_TRUE(other.complete());
    EXPECT_EQ(world.core.stats().preemptions, 1U);
    while (!slow->answer.complete()) {
        slow->read();
        world.core.step();
    }
    expect_same(slow->answer, answer_alone(long_request(100, 's')), "the slow reader's");
}

TEST_P(CoreTest, ACancelledRequestLeavesBeforeTheNextStepAndItsBlocksAreFree) {
    World world;
    const auto leaving = world.submit(long_request(100, 'a'));
    const auto staying = world.submit(long_request(10, 'b'));
    world.core.step();
    world.core.step();
    EXPECT_EQ(world.core.stats().blocks_used, 6U);
    leaving->channel->cancel();
    const std::size_t computed = world.model.computed_tokens;
    const std::uint32_t wakes = leaving->wakes;
    world.core.step();
    EXPECT_EQ(world.model.computed_tokens, computed + 1);
    EXPECT_EQ(world.core.stats().blocks_used, 3U);
    EXPECT_EQ(world.core.stats().cancelled, 1U);
    EXPECT_EQ(leaving->wakes, wakes) << "nobody is woken after leaving";
    while (world.core.step()) {
    }
    staying->read();
    EXPECT_TRUE(staying->answer.complete());
    EXPECT_EQ(world.core.stats().blocks_used, 0U);
}

TEST_P(CoreTest, EndsARequestWhoseDeadlinePassesAndNeverStartsOneThatIsLate) {
    World world({.running_max = 1});
    const auto running =
        world.submit(long_request(100, 'a'), base::Deadline::after(world.clock, 10s));
    const auto waiting =
        world.submit(long_request(100, 'b'), base::Deadline::after(world.clock, 5s));
    world.core.step();
    world.core.step();
    EXPECT_EQ(world.core.nearest_deadline().at(), world.clock.now() + 5s);
    world.clock.advance(6s);
    world.core.step();
    waiting->read();
    ASSERT_TRUE(waiting->answer.error);
    EXPECT_EQ(waiting->answer.error->code, base::Code::deadline);
    EXPECT_TRUE(waiting->answer.events.empty());
    world.clock.advance(5s);
    EXPECT_EQ(world.core.step(), late() > 0);
    running->read();
    EXPECT_EQ(running->answer.events.size(), 3U - late()) << "what was made is still delivered";
    ASSERT_TRUE(running->answer.error);
    EXPECT_EQ(running->answer.error->code, base::Code::deadline);
    EXPECT_EQ(world.core.stats().blocks_used, 0U);
}

TEST_P(CoreTest, LogitsThatAreNotNumbersEndOneRequestAndNotTheEngine) {
    chat::Generation request = long_request(30, 'n');
    request.choices = 2;
    const Answer healthy = answer_alone(request);
    // The second choice is a step behind: it waited for the prompt that they share.
    const std::size_t expected[2][2] = {{7, 6}, {9, 7}};
    for (const std::size_t broken : {0U, 1U}) {
        World world;
        std::uint64_t hash = FakeModel::chain(0, FakeTokenizer::bos);
        for (int i = 0; i < 40; ++i) hash = FakeModel::chain(hash, 'n');
        for (std::size_t i = 0; i < 7; ++i)
            hash = FakeModel::chain(hash, healthy.choices[broken].ids[i]);
        world.model.poisoned_prefix = hash;

        const auto neighbour = world.submit(long_request(30, 'm'));
        const auto poisoned = world.submit(request);
        while (world.core.step()) {
        }
        neighbour->read();
        poisoned->read();
        EXPECT_TRUE(neighbour->answer.complete());
        ASSERT_TRUE(poisoned->answer.error);
        EXPECT_EQ(poisoned->answer.error->code, base::Code::internal);
        for (const std::size_t choice : {0U, 1U})
            EXPECT_EQ(poisoned->answer.choices[choice].ids.size(), expected[broken][choice]);
        EXPECT_EQ(world.core.stats().blocks_used, 0U);
        EXPECT_TRUE(world.core.empty());
    }
}

TEST_P(CoreTest, KeepsABlockFreeForEachRunningChoiceWhenItAdmitsAnother) {
    // Each begins with three blocks; the older one grows to six.
    World world({}, {.blocks = 6});
    const auto older = world.submit(long_request(40, 'a'));
    const auto younger = world.submit(long_request(20, 'b'));
    while (world.core.step()) {
    }
    older->read();
    younger->read();
    EXPECT_TRUE(older->answer.complete() && younger->answer.complete());
    EXPECT_EQ(world.core.stats().preemptions, 0U);
}

TEST_P(CoreTest, ForgetsTheEndOfAPromptBeforeItsBeginning) {
    World world({}, {.blocks = 20});
    chat::Generation request = long_request(1, 'a');
    request.prompt = std::string(10 * block_tokens - 1, 'a');
    world.answer(request);
    chat::Generation other = long_request(1, 'b');
    other.prompt = std::string(15 * block_tokens - 1, 'b');
    world.answer(other);  // ten blocks were never used, so five of the ten are lost
    EXPECT_EQ(world.core.stats().cached_tokens, 0U);
    world.answer(request);
    EXPECT_EQ(world.core.stats().cached_tokens, 5U * block_tokens);
}

TEST_P(CoreTest, WakesAReaderOncePerStep) {
    World world;
    chat::Generation request = long_request(10);
    request.choices = 5;
    const auto reader = world.submit(request);
    std::uint32_t steps = 0;
    while (world.core.step()) ++steps;
    EXPECT_LE(reader->wakes, steps);
    reader->read();
    EXPECT_EQ(reader->answer.events.size(), 50U);
}

TEST_P(CoreTest, FillsTheContextWhenNoLimitIsGiven) {
    World world({}, {.context = 100});
    chat::Generation request = long_request(1);
    request.stopping.max_tokens.reset();
    const Answer answer = world.answer(request);
    EXPECT_EQ(answer.choices[0].ids.size(), 100U - 41U);
    EXPECT_EQ(answer.choices[0].finish, chat::FinishReason::length);
}

TEST_P(CoreTest, FillsTheWholePoolToItsLastSlot) {
    World world({}, {.blocks = 5});
    chat::Generation request = long_request(1);
    request.stopping.max_tokens.reset();
    const Answer answer = world.answer(request);
    EXPECT_EQ(answer.choices[0].ids.size(), 80U - 41U);
    EXPECT_EQ(answer.choices[0].finish, chat::FinishReason::length);
}

TEST_P(CoreTest, EndsOnlyThoseThatNoStepHasWorkedForWhenItDrains) {
    World world({.running_max = 1});
    const auto running = world.submit(long_request(20, 'a'));
    const auto waiting = world.submit(long_request(20, 'b'));
    world.core.step();
    world.core.fail_unstarted({.code = base::Code::unavailable, .what = "stopping"});
    while (world.core.step()) {
    }
    running->read();
    waiting->read();
    EXPECT_TRUE(running->answer.complete());
    ASSERT_TRUE(waiting->answer.error);
    EXPECT_EQ(waiting->answer.error->code, base::Code::unavailable);
}

}  // namespace holdfast::engine
