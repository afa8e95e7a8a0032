// What happens to requests while a step of theirs is in flight.
#include "inference/engine/runner.h"

#include <gtest/gtest.h>

#include <set>

#include "inference/engine/test_world.h"

namespace holdfast::engine {
namespace {

using namespace std::chrono_literals;

class LateWorld : public World {
public:
    explicit LateWorld(Options options = {}, FakeModel::Options model_options = {})
        : World(options, model_options, RunnerKind::late) {}
    LateRunner& device() { return static_cast<LateRunner&>(*runner); }
};

chat::Generation ask(char letter, std::uint32_t max_tokens, std::uint32_t prompt = 40) {
    chat::Generation request;
    request.prompt = std::string(prompt, letter);
    request.sampling.seed = 5;
    request.sampling.repetition_penalty = 1.2F;
    request.stopping.max_tokens = max_tokens;
    request.stopping.ignore_eos = true;
    return request;
}

// Ends by itself after a few tokens, at one that nobody can foresee.
chat::Generation ends_early() {
    for (std::uint64_t seed = 0;; ++seed) {
        chat::Generation request = ask('e', 100);
        request.sampling.seed = seed;
        request.stopping.ignore_eos = false;
        const Answer answer = answer_alone(request);
        const std::size_t tokens = answer.choices[0].ids.size();
        if (answer.choices[0].finish == chat::FinishReason::stop && tokens > 3 && tokens < 30)
            return request;
    }
}

void expect_nothing_left(World& world, const std::string& context) {
    while (world.core.step()) {
    }
    EXPECT_TRUE(world.core.empty()) << context;
    EXPECT_EQ(world.core.stats().blocks_used, 0U) << context;
    EXPECT_EQ(world.core.stats().running + world.core.stats().waiting, 0U) << context;
}

}  // namespace

TEST(LateRunner, ATokenIsSaidOneStepAfterItWasDrawn) {
    LateWorld world;
    const auto reader = world.submit(ask('a', 3));
    for (std::size_t step = 0; step < 4; ++step) {
        EXPECT_TRUE(world.core.step());
        reader->read();
        EXPECT_EQ(reader->answer.events.size(), step);
    }
    EXPECT_TRUE(reader->answer.complete());
    EXPECT_FALSE(world.core.step());
    EXPECT_EQ(world.model.computed_tokens, 41U + 2U) << "the length was known ahead";
}

TEST(LateRunner, DropsWhatAnAnswerDrewBehindItsEnd) {
    const chat::Generation request = ends_early();
    const Answer expected = answer_alone(request);
    LateWorld world;
    expect_same(world.answer(request), expected, "ends early");
    const std::size_t tokens = expected.choices[0].ids.size();
    EXPECT_FALSE(world.core.empty()) << "the group waits for its row";
    EXPECT_EQ(world.core.stats().blocks_used, 0U) << "its blocks do not";
    expect_nothing_left(world, "afterwards");
    EXPECT_EQ(world.model.computed_tokens, 41U + tokens) << "one row more than on the host";
    EXPECT_EQ(world.core.stats().generated_tokens, tokens);
}

TEST(LateRunner, ACancelledRequestMayLeaveAtEveryStep) {
    const Answer expected = answer_alone(ask('b', 20));
    for (std::size_t leave = 0; leave < 16; ++leave) {
        LateWorld world;
        const auto leaving = world.submit(ask('a', 20));
        const auto staying = world.submit(ask('b', 20));
        for (std::size_t step = 0; step < leave; ++step) world.core.step();
        leaving->channel->cancel();
        expect_nothing_left(world, fmt::format("left after {}", leave));
        EXPECT_EQ(world.core.stats().cancelled, 1U);
        leaving->read();
        EXPECT_EQ(leaving->answer.events.size(), leave > 0 ? leave - 1 : 0);
        staying->read();
        expect_same(staying->answer, expected, fmt::format("beside one that left at {}", leave));
    }
}

// In a pool that holds little more than one of them, so that the freed blocks are used at once.
TEST(LateRunner, FreedBlocksMayBeUsedWhileTheirOldOwnersStepIsInFlight) {
    const Answer expected = answer_alone(ask('b', 40));
    for (std::size_t leave = 0; leave < 30; ++leave) {
        LateWorld world({.prefix_cache = false}, {.blocks = 6});
        const auto leaving = world.submit(ask('a', 40));
        const auto next = world.submit(ask('b', 40));
        for (std::size_t step = 0; step < leave; ++step) world.core.step();
        leaving->channel->cancel();
        expect_nothing_left(world, fmt::format("left after {}", leave));
        next->read();
        expect_same(next->answer, expected, fmt::format("after one that left at {}", leave));
    }
}

TEST(LateRunner, ADeadlineMayPassAtEveryStep) {
    const Answer expected = answer_alone(ask('b', 20));
    for (std::size_t late = 0; late < 16; ++late) {
        LateWorld world;
        const auto hurried = world.submit(ask('a', 20), base::Deadline::after(world.clock, 5s));
        const auto patient = world.submit(ask('b', 20));
        for (std::size_t step = 0; step < late; ++step) world.core.step();
        world.clock.advance(6s);
        expect_nothing_left(world, fmt::format("after {}", late));
        hurried->read();
        ASSERT_TRUE(hurried->answer.error);
        EXPECT_EQ(hurried->answer.error->code, base::Code::deadline);
        patient->read();
        expect_same(patient->answer, expected, fmt::format("beside one late at {}", late));
    }
}

// Pool, prompt and tokens before the older one comes are varied until the younger one is thrown out
// at every step of its answer.
TEST(LateRunner, APreemptedChoiceLosesNoTokenWhateverItsStepInFlight) {
    const Answer older_alone = answer_alone(ask('o', 70));
    std::set<std::size_t> preempted_after;
    for (std::uint32_t prompt = 30; prompt < 46; ++prompt) {
        const Answer younger_alone = answer_alone(ask('y', 60, prompt));
        for (std::uint32_t blocks = 8; blocks < 13; ++blocks) {
            LateWorld world({}, {.blocks = blocks});
            const auto older = world.submit(ask('o', 70));
            const auto younger = world.submit(ask('y', 60, prompt));
            std::uint64_t preemptions = 0;
            while (world.core.step()) {
                if (world.core.stats().preemptions > preemptions) {
                    EXPECT_EQ(world.device().in_flight(), 1U);
                    preempted_after.insert(younger->answer.events.size());
                }
                preemptions = world.core.stats().preemptions;
                older->read();
                younger->read();
            }
            const std::string context = fmt::format("prompt {}, {} blocks", prompt, blocks);
            expect_same(older->answer, older_alone, context);
            expect_same(younger->answer, younger_alone, context);
            expect_nothing_left(world, context);
        }
    }
    EXPECT_GE(preempted_after.size(), 16U);
}

TEST(LateRunner, AReaderThatIsBehindIsPreemptedWithItsTokenPending) {
    const Answer slow_alone = answer_alone(ask('s', 60)), other_alone = answer_alone(ask('k', 60));
    for (std::uint32_t unread = 1; unread < 20; ++unread) {
        LateWorld world({.unread_events_max = unread}, {.blocks = 8});
        const auto slow = world.submit(ask('s', 60));
        for (std::uint32_t step = 0; step < unread + 1; ++step) world.core.step();
        const auto other = world.submit(ask('k', 60));
        for (std::uint32_t step = 0; !other->answer.complete(); ++step) {
            ASSERT_TRUE(world.core.step() || step < 200);
            other->read();
        }
        EXPECT_GE(world.core.stats().preemptions, 1U);
        while (!slow->answer.complete()) {
            slow->read();
            world.core.step();
        }
        expect_same(slow->answer, slow_alone, fmt::format("{} unread", unread));
        expect_same(other->answer, other_alone, fmt::format("{} unread", unread));
    }
}

TEST(LateRunner, AnAnswerMayBeResumedWhileItsOldStepIsInFlight) {
    const Answer whole = answer_alone(ask('r', 24));
    for (std::size_t cut = 0; cut < 24; ++cut) {
        LateWorld world;
        auto first = world.submit(ask('r', 24));
        for (std::size_t step = 0; step < cut + 1; ++step) world.core.step();
        first->read();
        ASSERT_EQ(first->answer.events.size(), cut);
        EXPECT_EQ(world.device().in_flight(), 1U);
        chat::Generation request = ask('r', 24);
        if (cut > 0) request.resume = chat::Resume{{first->answer.choices[0].ids}};
        first->channel->cancel();
        Answer joined = first->answer;
        for (const chat::Event& event : world.answer(request).events) joined.add(event);
        expect_same(joined, whole, fmt::format("cut at {}", cut));
    }
}

TEST(LateRunner, AChoiceThatEndsLeavesItsSiblingsStepsAlone) {
    chat::Generation request = ends_early();
    request.choices = 4;
    request.stopping.max_tokens = 60;
    const Answer expected = answer_alone(request);
    for (const std::uint32_t blocks : {8U, 12U, 200U}) {
        LateWorld world({}, {.blocks = blocks});
        expect_same(world.answer(request), expected, fmt::format("{} blocks", blocks));
        expect_nothing_left(world, fmt::format("{} blocks", blocks));
    }
}

TEST(LateRunner, BrokenLogitsEndARequestThoughItsNextStepIsInFlight) {
    const Answer healthy = answer_alone(ask('n', 20)), other = answer_alone(ask('m', 20));
    for (std::size_t good = 0; good < 19; ++good) {
        LateWorld world;
        std::uint64_t hash = FakeModel::chain(0, FakeTokenizer::bos);
        for (int i = 0; i < 40; ++i) hash = FakeModel::chain(hash, 'n');
        for (std::size_t i = 0; i < good; ++i)
            hash = FakeModel::chain(hash, healthy.choices[0].ids[i]);
        world.model.poisoned_prefix = hash;
        const auto broken = world.submit(ask('n', 20));
        const auto neighbour = world.submit(ask('m', 20));
        expect_nothing_left(world, fmt::format("{} good", good));
        broken->read();
        neighbour->read();
        ASSERT_TRUE(broken->answer.error);
        EXPECT_EQ(broken->answer.error->code, base::Code::internal);
        EXPECT_EQ(broken->answer.events.size(), good);
        expect_same(neighbour->answer, other, fmt::format("{} good", good));
    }
}

TEST(LateRunner, EndingAllRequestsWaitsForTheirSteps) {
    for (std::size_t steps = 0; steps < 4; ++steps) {
        LateWorld world;
        const auto reader = world.submit(ask('a', 20));
        for (std::size_t step = 0; step < steps; ++step) world.core.step();
        world.core.fail_all({.code = base::Code::unavailable, .what = "stopping"});
        EXPECT_TRUE(world.core.empty());
        EXPECT_EQ(world.device().in_flight(), 0U);
        reader->read();
        ASSERT_TRUE(reader->answer.error);
        EXPECT_EQ(reader->answer.error->code, base::Code::unavailable);
    }
}

TEST(LateRunner, ADevicesDeathEndsWhatIsThereAndWhatComesLater) {
    LateWorld world;
    const auto first = world.submit(ask('a', 20)), second = world.submit(ask('b', 20));
    for (int step = 0; step < 5; ++step) world.core.step();
    world.device().death = {.code = base::Code::unavailable,
                            .what = "the device is lost",
                            .retry = base::Retry::elsewhere};
    world.core.step();
    EXPECT_TRUE(world.core.empty());
    const auto later = world.submit(ask('c', 20));
    EXPECT_FALSE(world.core.step());
    for (const auto* reader : {&first, &second, &later}) {
        (*reader)->read();
        ASSERT_TRUE((*reader)->answer.error);
        EXPECT_EQ((*reader)->answer.error->what, "the device is lost");
        EXPECT_EQ((*reader)->answer.events.size(), reader == &later ? 0U : 4U);
    }
    EXPECT_EQ(world.core.stats().blocks_used, 0U);
}

// Whoever may propose has to know its last token; whoever rests, because its proposals misled, does
// not.
TEST(LateRunner, StepsArePlannedAheadUnlessSomebodyMayPropose) {
    for (const bool repeats : {true, false}) {
        LateWorld world({.speculation_tokens_max = 4}, {.habit = repeats ? 9.0F : 0.0F});
        std::size_t ahead = 0, launched = 0;
        world.model.before_forward = [&](auto) {
            ++launched;
            ahead += world.device().in_flight();
        };
        chat::Generation request = ask('q', 200);
        request.sampling.repetition_penalty = 1.0F;
        request.sampling.temperature = repeats ? 0.0F : 2.0F;
        for (chat::TokenId id = 'a'; !repeats && id < 'i'; ++id)
            request.sampling.logit_bias.emplace_back(id, 100.0F);
        EXPECT_TRUE(world.answer(request).complete());
        EXPECT_EQ(world.core.stats().accepted_tokens > 100, repeats);
        if (repeats)
            EXPECT_LT(ahead * 4, launched);
        else
            EXPECT_GT(ahead * 2, launched);
    }
}

}  // namespace holdfast::engine
