#include "inference/engine/speculation.h"

#include <gtest/gtest.h>

#include "common/base/random.h"
#include "inference/engine/test_world.h"

namespace holdfast::engine {
namespace {

using Ids = std::vector<chat::TokenId>;

Ids guess(NgramIndex& index, const Ids& ids, std::size_t count) {
    Ids proposal(count);
    return index.propose(ids, proposal) ? proposal : Ids();
}

Ids random_ids(std::size_t count, std::uint32_t vocab, std::uint32_t seed) {
    Ids ids;
    for (std::uint32_t i = 0; i < count; ++i)
        ids.push_back(static_cast<chat::TokenId>(base::philox({i, 0, 0, 0}, {seed, 0})[0] % vocab));
    return ids;
}

// A model that likes to repeat itself, and one that does not.
constexpr float habits[] = {5.0F, 0.0F};
constexpr std::uint32_t varieties = 33;

// Every varied request alone, without speculation.
const std::vector<Answer>& plain_answers(float habit) {
    const auto make = [](float of) {
        std::vector<Answer> all;
        for (std::uint32_t i = 0; i < varieties; ++i)
            all.push_back(answer_alone(varied_request(i), {.habit = of}));
        return all;
    };
    static const std::vector<Answer> repeating = make(habits[0]), varied = make(habits[1]);
    return habit == habits[0] ? repeating : varied;
}

void expect_plain_answers(World& world, float habit, const std::string& context) {
    const std::uint64_t before = world.core.stats().generated_tokens;
    std::vector<std::unique_ptr<World::Reader>> readers;
    for (std::uint32_t i = 0; i < varieties; ++i)
        readers.push_back(world.submit(varied_request(i)));
    while (world.core.step())
        for (auto& reader : readers) reader->read();
    for (std::uint32_t i = 0; i < varieties; ++i)
        expect_same(readers[i]->answer, plain_answers(habit)[i],
                    fmt::format("{}, habit {}, request {}", context, habit, i));
    EXPECT_TRUE(world.core.empty());
    EXPECT_EQ(world.core.stats().blocks_used, 0U);
    std::uint64_t tokens = 0;
    for (const auto& reader : readers) tokens += reader->answer.usage->completion_tokens;
    EXPECT_EQ(world.core.stats().generated_tokens - before, tokens);
}

class SpeculatingCore : public EachRunner {};
HF_ON_EACH_RUNNER(SpeculatingCore);

chat::Generation long_request(std::optional<std::uint32_t> max_tokens, char letter = 'q') {
    chat::Generation request;
    request.prompt = std::string(40, letter);
    request.sampling.seed = 5;
    request.sampling.temperature = 0.5F;
    request.stopping.max_tokens = max_tokens;
    request.stopping.ignore_eos = true;
    return request;
}

}  // namespace

TEST(NgramIndex, ProposesWhatFollowedTheLastIdsBefore) {
    NgramIndex index;
    EXPECT_EQ(guess(index, {1, 2, 3, 4, 5, 2, 3}, 2), Ids({4, 5}));
    EXPECT_EQ(guess(index, {1, 2, 3, 4, 5, 2, 3, 6}, 2), Ids());
    EXPECT_EQ(guess(index, {1, 2, 3, 4, 5, 2, 3, 6, 2, 3}, 2), Ids({6, 2})) << "the latest";
}

TEST(NgramIndex, PrefersTheLongestMatchToTheLatest) {
    NgramIndex index;
    EXPECT_EQ(guess(index, {1, 2, 3, 4, 50, 9, 3, 4, 60, 1, 2, 3, 4}, 1), Ids({50}));
}

TEST(NgramIndex, ContinuesARepetitionBeyondTheEnd) {
    NgramIndex index;
    EXPECT_EQ(guess(index, {7, 1, 2, 3, 1, 2, 3}, 7), Ids({1, 2, 3, 1, 2, 3, 1}));
    NgramIndex same;
    EXPECT_EQ(guess(same, {5, 5, 5}, 4), Ids({5, 5, 5, 5}));
}

TEST(NgramIndex, HasNothingToSayAboutTooFewOrNewIds) {
    NgramIndex index;
    Ids ids;
    for (chat::TokenId id = 0; id < 2000; ++id) {
        ids.push_back(id);
        ASSERT_EQ(guess(index, ids, 3), Ids());
    }
}

TEST(NgramIndex, ProposesTheSameWhenItSeesIdsOneByOneOrAllAtOnce) {
    const Ids ids = random_ids(6000, 12, 1);
    NgramIndex growing;
    std::size_t found = 0;
    for (std::size_t size = 1; size <= ids.size(); size += 7) {
        const Ids some(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(size));
        NgramIndex fresh;
        const Ids expected = guess(fresh, some, 5);
        ASSERT_EQ(guess(growing, some, 5), expected) << size;
        found += expected.size();
    }
    EXPECT_GT(found, 1000U);
}

TEST(NgramIndex, KeepsTheLatestOfMoreThanItHasRoomFor) {
    Ids ids = random_ids(200'000, 100'000, 2);
    const Ids before(ids.end() - 40, ids.end() - 36), after(ids.end() - 36, ids.end() - 33);
    ids.insert(ids.end(), before.begin(), before.end());
    NgramIndex index;
    EXPECT_EQ(guess(index, ids, 3), after);
}

TEST(Speculation, ProposesLongerWhenAllIsAcceptedAndShorterWhenNot) {
    Speculation speculation;
    Ids ids(10, 1);
    const auto proposed = [&] {
        const std::uint32_t count = speculation.propose(ids, 100);
        ids.resize(ids.size() - count);
        return count;
    };
    EXPECT_EQ(proposed(), 2U);
    speculation.learn(2, 2, 1);
    EXPECT_EQ(proposed(), 4U);
    speculation.learn(4, 4, 1);
    EXPECT_EQ(proposed(), 8U);
    speculation.learn(8, 2, 1);
    EXPECT_EQ(proposed(), 3U);
}

TEST(Speculation, RestsLongerAndLongerWhileNothingIsAcceptedAndRecovers) {
    Speculation speculation;
    Ids ids(10, 1);
    std::uint32_t refused = 0, early = 0;
    for (int step = 0; step < 10'000; ++step) {
        const std::uint32_t count = speculation.propose(ids, 8);
        ids.resize(10);
        if (count > 0) speculation.learn(count, 0, 1);
        refused += count;
        if (step < 100) early += count;
    }
    EXPECT_LE(early, 14U);
    EXPECT_LE(refused, 100U);
    EXPECT_GE(refused, 40U) << "it tries again";
    std::uint32_t accepted = 0;
    for (int step = 0; step < 1000; ++step) {
        const std::uint32_t count = speculation.propose(ids, 8);
        ids.resize(10);
        if (count > 0) speculation.learn(count, count, 1);
        accepted += count;
    }
    EXPECT_GE(accepted, 5000U);
}

// A quarter is accepted: that pays for one sequence, and not for four that wait for the rest.
TEST(Speculation, RestsSoonerTheMoreSequencesShareTheStep) {
    std::vector<std::uint32_t> proposed;
    for (const std::uint32_t sequences : {1U, 2U, 4U}) {
        Speculation speculation;
        Ids ids(10, 1);
        proposed.push_back(0);
        for (std::uint32_t step = 0; step < 1000; ++step) {
            const std::uint32_t count = speculation.propose(ids, 1);
            ids.resize(10);
            if (count == 0) continue;
            speculation.learn(count, proposed.back() % 4 == 0 ? 1 : 0, sequences);
            proposed.back() += count;
        }
    }
    EXPECT_EQ(proposed[0], 1000U);
    EXPECT_LT(proposed[1], 200U);
    EXPECT_LT(proposed[2], proposed[1]);
}

TEST_P(SpeculatingCore, AnswersEveryRequestAsWithoutSpeculation) {
    for (const float habit : habits)
        for (const std::uint32_t tokens : {1U, 2U, 5U, 100U}) {
            World world({.speculation_tokens_max = tokens}, {.habit = habit});
            expect_plain_answers(world, habit, fmt::format("{} tokens", tokens));
            expect_plain_answers(world, habit, "with cached prompts");
            EXPECT_GT(world.core.stats().cached_tokens, 0U);
            World alone({.running_max = 1, .speculation_tokens_max = tokens}, {.habit = habit});
            expect_plain_answers(alone, habit, fmt::format("{} tokens, alone", tokens));
            EXPECT_GT(alone.core.stats().proposed_tokens, 0U);
        }
}

TEST_P(SpeculatingCore, AnswersAsWithoutSpeculationWhateverTheBatchAndThePool) {
    for (const float habit : habits)
        for (const std::uint32_t batch : {1U, 2U, 7U, 9U})
            for (const std::uint32_t blocks : {14U, 15U, 22U}) {
                World world({.prefill_tokens_max = 5, .speculation_tokens_max = 4},
                            {.blocks = blocks, .batch_tokens_max = batch, .habit = habit});
                expect_plain_answers(world, habit, fmt::format("batch {}, {}", batch, blocks));
            }
}

TEST_P(SpeculatingCore, NeedsFewerStepsForTextThatRepeatsItself) {
    World plain({}, {.habit = 9.0F}), speculating({.speculation_tokens_max = 4}, {.habit = 9.0F});
    expect_same(speculating.answer(long_request(400)), plain.answer(long_request(400)), "same");
    EXPECT_LT(speculating.core.stats().steps * 2, plain.core.stats().steps);
    const Stats stats = speculating.core.stats();
    EXPECT_EQ(stats.steps + stats.accepted_tokens, stats.generated_tokens);
    EXPECT_EQ(stats.generated_tokens, 400U);
}

TEST_P(SpeculatingCore, CountsNothingWhenItIsOff) {
    World world({}, {.habit = 9.0F});
    world.answer(long_request(100));
    EXPECT_EQ(world.core.stats().proposed_tokens, 0U);
    EXPECT_EQ(world.core.stats().steps, 100U);
}

// The fake model checks that no position is beyond the context, its table or the batch.
TEST_P(SpeculatingCore, FillsContextAndPoolToTheLastToken) {
    for (std::uint32_t end = 64; end <= 81; ++end) {
        World context({.speculation_tokens_max = 6}, {.context = end, .habit = 9.0F});
        EXPECT_EQ(context.answer(long_request({})).choices[0].ids.size(), end - 41U);
        for (const std::uint32_t max_tokens : {1U, 2U, 3U, end - 41U}) {
            World pool({.speculation_tokens_max = 6}, {.blocks = blocks_for(end), .habit = 9.0F});
            const Answer answer = pool.answer(long_request(max_tokens));
            EXPECT_EQ(answer.choices[0].ids.size(), max_tokens);
            EXPECT_EQ(answer.choices[0].finish, chat::FinishReason::length);
        }
    }
}

TEST_P(SpeculatingCore, TakesNoBlockThatOthersMayNeedAndKeepsNone) {
    for (const std::uint32_t blocks : {12U, 13U, 14U, 40U}) {
        World world({.speculation_tokens_max = 6}, {.blocks = blocks, .habit = 9.0F});
        bool crossed = false;
        world.model.before_forward = [&](std::span<const model::Slice> slices) {
            for (const model::Slice& slice : slices) {
                if (slice.logits < 2) continue;
                const std::size_t known = slice.position + slice.tokens.size() - slice.logits + 1;
                if (slice.blocks.size() == blocks_for(known)) continue;
                crossed = true;
                EXPECT_GE(blocks - world.core.stats().blocks_used, slices.size());
            }
        };
        const auto older = world.submit(long_request(100, 'a'));
        chat::Generation request = long_request(100, 'b');
        request.prompt = std::string(42, 'b');  // out of step with the older one
        const auto younger = world.submit(request);
        while (world.core.step()) {
            older->read();
            younger->read();
            std::size_t needed = 0;  // a step in flight may hold seven tokens more
            for (const auto* reader : {older.get(), younger.get()})
                if (!reader->answer.complete() && !reader->answer.events.empty())
                    needed += blocks_for((reader == older.get() ? 41 : 43) +
                                         reader->answer.events.size() + 7 * late());
            if (!older->answer.events.empty() && !younger->answer.events.empty())
                EXPECT_LE(world.core.stats().blocks_used, needed);
        }
        EXPECT_TRUE(older->answer.complete() && younger->answer.complete());
        EXPECT_TRUE(crossed || blocks < 40);
    }
}

TEST_P(SpeculatingCore, ProposesOnlyWhileAStepIsSmall) {
    World world({.speculation_tokens_max = 4}, {.habit = 9.0F});
    std::size_t largest_with_proposals = 0, with_proposals = 0;
    world.model.before_forward = [&](std::span<const model::Slice> slices) {
        std::size_t tokens = 0, proposed = 0;
        for (const model::Slice& slice : slices) {
            tokens += slice.tokens.size();
            if (slice.logits > 1) proposed += slice.logits - 1;
        }
        EXPECT_LE(tokens, std::max<std::size_t>(proposing_tokens_max, tokens - proposed));
        if (proposed == 0) return;
        ++with_proposals;
        largest_with_proposals = std::max(largest_with_proposals, tokens);
    };
    std::vector<std::unique_ptr<World::Reader>> readers;
    for (std::uint32_t i = 0; i < 12; ++i)
        readers.push_back(world.submit(long_request(40 + 30 * i, static_cast<char>('a' + i))));
    while (world.core.step())
        for (auto& reader : readers) reader->read();
    EXPECT_EQ(largest_with_proposals, proposing_tokens_max);
    EXPECT_GT(with_proposals, 20U);
}

TEST_P(SpeculatingCore, ResumesAfterAnyEvent) {
    for (const std::uint32_t number : {1U, 3U, 4U, 7U, 10U}) {
        const Answer& whole = plain_answers(habits[0])[number];
        ASSERT_EQ(whole.choices.size(), 1U);
        World world({.speculation_tokens_max = 4}, {.habit = habits[0]});
        for (std::size_t cut = 1; cut < whole.events.size(); ++cut) {
            Answer joined;
            for (std::size_t i = 0; i < cut; ++i) joined.add(whole.events[i]);
            chat::Generation request = varied_request(number);
            request.resume = chat::Resume{{joined.choices[0].ids}};
            const Answer rest = world.answer(request);
            for (const chat::Event& event : rest.events) joined.add(event);
            expect_same(joined, whole, fmt::format("request {} cut at {}", number, cut));
        }
    }
}

TEST_P(SpeculatingCore, SaysWhatCameBeforeLogitsThatAreNotNumbers) {
    const Answer healthy = answer_alone(long_request(60), {.habit = 9.0F});
    for (std::size_t good = 0; good < 40; ++good) {
        World world({.speculation_tokens_max = 4}, {.habit = 9.0F});
        std::uint64_t hash = FakeModel::chain(0, FakeTokenizer::bos);
        for (int i = 0; i < 40; ++i) hash = FakeModel::chain(hash, 'q');
        for (std::size_t i = 0; i < good; ++i)
            hash = FakeModel::chain(hash, healthy.choices[0].ids[i]);
        world.model.poisoned_prefix = hash;
        const Answer answer = world.answer(long_request(60));
        ASSERT_TRUE(answer.error);
        EXPECT_EQ(answer.error->code, base::Code::internal);
        EXPECT_EQ(answer.events.size(), good);
        EXPECT_EQ(world.core.stats().blocks_used, 0U);
    }
}

TEST_P(SpeculatingCore, ReadersThatPauseOrLeaveChangeNothingForOthers) {
    World world({.unread_events_max = 5, .speculation_tokens_max = 4}, {.habit = 9.0F});
    const auto slow = world.submit(long_request(90, 's'));
    const auto leaving = world.submit(long_request(90, 'l'));
    const auto quick = world.submit(long_request(90, 'k'));
    for (std::uint32_t step = 0; !slow->answer.complete(); ++step) {
        const bool worked = world.core.step();
        quick->read();
        if (step < 9) leaving->read();
        if (step == 9) leaving->channel->cancel();
        if (!worked || step % 3 == 0) slow->read(2);
        ASSERT_LT(step, 1000U);
    }
    World plain({}, {.habit = 9.0F});
    expect_same(slow->answer, plain.answer(long_request(90, 's')), "the slow reader's");
    expect_same(quick->answer, plain.answer(long_request(90, 'k')), "the quick reader's");
    EXPECT_EQ(world.core.stats().blocks_used, 0U);
    EXPECT_EQ(world.core.stats().cancelled, 1U);
}

}  // namespace holdfast::engine
