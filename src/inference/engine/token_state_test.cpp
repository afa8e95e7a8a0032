#include "inference/engine/token_state.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "common/base/random.h"
#include "inference/engine/fakes.h"

namespace holdfast::engine {
namespace {

constexpr chat::TokenId eos = FakeTokenizer::eos, end_think = FakeTokenizer::end_think;
const FakeTokenizer tokenizer;

// Everything that may be asked of a state.
std::string describe(const TokenState& state) {
    const Output& output = state.output();
    std::string text = fmt::format(
        "tokens={} left={} reasoning={} thinking={} finish={} masks={} seen=", output.tokens(),
        output.tokens_left(), output.reasoning_tokens(), output.thinking(),
        output.finish() ? static_cast<int>(*output.finish()) : -1, state.masks());
    for (const auto [id, generated] : state.history().seen())
        text += fmt::format(" {}x{}", id, generated);
    if (!state.masks()) return text;
    std::vector<float> logits(FakeTokenizer::vocab);
    state.mask(logits);
    for (std::size_t id = 0; id < logits.size(); ++id)
        if (std::isinf(logits[id])) text += fmt::format(" !{}", id);
    return text;
}

std::string describe(const Output::Text& text) {
    return fmt::format("'{}' '{}' {}", text.reasoning, text.content, text.finish.has_value());
}

struct Case {
    chat::Sampling sampling;
    TokenRules rules;
};

// Each derived state alone, and all at once.
std::vector<Case> cases() {
    std::vector<Case> all(8);
    all[1].sampling.repetition_penalty = 1.5F;
    all[2].sampling.presence_penalty = 0.5F;
    all[3].rules.output.stop = {"stop!", "so the",
                                "\xE4\xB8\x96"
                                "a"};
    all[4].rules.output.min_tokens = 20;
    all[5].rules.output.splits_reasoning = all[5].rules.output.starts_thinking = true;
    all[6].sampling.frequency_penalty = 0.5F;
    all[6].rules.output = {.stop = {"stop!", "waitst"},
                           .min_tokens = 7,
                           .splits_reasoning = true,
                           .starts_thinking = true,
                           .echo = "before"};
    all[7] = all[6];
    all[7].rules.output.stop_in_reasoning = true;
    for (Case& one : all) {
        one.rules.output.end_ids = {eos};
        one.rules.output.tokens_max = 40;
        one.rules.late_ids = {eos, 40};
    }
    return all;
}

// Pieces that words, stop strings, half characters and tags are made of.
std::vector<chat::TokenId> random_ids(std::uint32_t seed) {
    std::vector<chat::TokenId> ids;
    for (std::uint32_t i = 0; i < 40; ++i) {
        const auto bits = base::philox({i, 0, 0, 0}, {seed, 3});
        ids.push_back(FakeTokenizer::first_piece + static_cast<chat::TokenId>(bits[0] % 26));
        if (bits[1] % 12 == 0) ids.back() = end_think;
        if (bits[1] % 60 == 1) ids.back() = eos;
        if (ids.back() >= tokenizer.size()) ids.back() = 'a';
    }
    return ids;
}

}  // namespace

TEST(TokenState, RebuiltByFeedingItIsTheOneThatGrewStepByStepAtEveryCut) {
    const std::vector<chat::TokenId> prompt = {'p', 'q', 'p'};
    std::size_t finished = 0, held_back = 0, thought = 0;
    for (const Case& one : cases())
        for (std::uint32_t seed = 0; seed < 30; ++seed) {
            const std::vector<chat::TokenId> ids = random_ids(seed);
            const TokenState fresh(tokenizer, one.sampling, one.rules, prompt);
            TokenState grown = fresh;
            for (std::size_t cut = 0; cut < ids.size() && !grown.output().finish(); ++cut) {
                TokenState rebuilt = fresh;
                ASSERT_TRUE(rebuilt.replay(std::span(ids).first(cut)));
                ASSERT_EQ(describe(rebuilt), describe(grown)) << "seed " << seed << " cut " << cut;
                TokenState ahead = grown;  // what is held back shows in what comes later
                for (std::size_t i = cut; i < ids.size() && !ahead.output().finish(); ++i) {
                    const std::string text = describe(ahead.feed(ids[i]));
                    ASSERT_EQ(describe(rebuilt.feed(ids[i])), text) << seed << " " << cut;
                }
                ASSERT_EQ(describe(rebuilt), describe(ahead));
                thought += grown.output().thinking() ? 1 : 0;
                held_back += describe(grown.feed(ids[cut])) == "'' '' false" ? 1 : 0;
            }
            finished += grown.output().finish() == chat::FinishReason::stop ? 1 : 0;
        }
    EXPECT_GT(finished, 20U);
    EXPECT_GT(held_back, 100U);
    EXPECT_GT(thought, 100U);
}

TEST(TokenState, ReplayStopsWhereTheChoiceEnded) {
    const TokenState fresh(tokenizer, {}, {.output = {.end_ids = {eos}, .tokens_max = 9}}, {});
    TokenState whole = fresh, beyond = fresh;
    EXPECT_TRUE(whole.replay(std::vector<chat::TokenId>{'a', eos}));
    EXPECT_FALSE(beyond.replay(std::vector<chat::TokenId>{'a', eos, 'b'}));
    EXPECT_EQ(beyond.output().tokens(), 2U);
}

TEST(TokenState, MasksTheIdsThatMayEndAChoiceBeforeMinTokens) {
    TokenState state(tokenizer, {},
                     {.output = {.min_tokens = 2, .tokens_max = 9}, .late_ids = {5, 7}}, {});
    ASSERT_TRUE(state.masks());
    std::vector<float> logits(10, 1.0F);
    state.mask(logits);
    for (std::size_t id = 0; id < logits.size(); ++id)
        EXPECT_EQ(std::isinf(logits[id]), id == 5 || id == 7) << id;
    state.feed('a');
    EXPECT_TRUE(state.masks());
    state.feed('b');
    EXPECT_FALSE(state.masks());
}

TEST(TokenState, KnowsWhetherTheNextTokenIsThinking) {
    TokenRules rules{
        .output = {.tokens_max = 9, .splits_reasoning = true, .starts_thinking = true}};
    TokenState chat(tokenizer, {}, rules, {});
    EXPECT_TRUE(chat.output().thinking());
    chat.feed('a');
    EXPECT_TRUE(chat.output().thinking());
    chat.feed(end_think);
    EXPECT_FALSE(chat.output().thinking());
    rules.output.splits_reasoning = false;
    EXPECT_FALSE(TokenState(tokenizer, {}, rules, {}).output().thinking()) << "a completion";
}

}  // namespace holdfast::engine
