#include "inference/engine/output.h"

#include <gtest/gtest.h>

#include "inference/engine/fakes.h"

namespace holdfast::engine {
namespace {

struct Shown {
    std::string reasoning, content;
    std::optional<chat::FinishReason> finish;
    std::uint32_t tokens = 0, reasoning_tokens = 0;
};

// Feeds until the ids are used up or the output has finished.
Shown show(OutputRules rules, std::initializer_list<chat::TokenId> ids) {
    static const FakeTokenizer tokenizer;
    if (rules.tokens_max == 0) rules.tokens_max = 1000;
    if (rules.end_ids.empty()) rules.end_ids = {FakeTokenizer::eos};
    Output output(tokenizer, rules);
    Shown shown;
    for (const chat::TokenId id : ids) {
        const Output::Text text = output.feed(id);
        shown.reasoning += text.reasoning;
        shown.content += text.content;
        if (text.finish) break;
    }
    shown.finish = output.finish();
    shown.tokens = output.tokens();
    shown.reasoning_tokens = output.reasoning_tokens();
    return shown;
}

constexpr chat::TokenId eos = FakeTokenizer::eos, end_think = FakeTokenizer::end_think;
const OutputRules chat_rules{.splits_reasoning = true, .starts_thinking = true};

}  // namespace

TEST(Output, SplitsThinkingFromAnswerAndCountsBoth) {
    const Shown shown = show(chat_rules, {'h', 'm', end_think, 'o', 'k', eos});
    EXPECT_EQ(shown.reasoning, "hm");
    EXPECT_EQ(shown.content, "ok");
    EXPECT_EQ(shown.finish, chat::FinishReason::stop);
    EXPECT_EQ(shown.tokens, 6U);
    EXPECT_EQ(shown.reasoning_tokens, 3U);
}

TEST(Output, LeavesTheTextOfACompletionAsItIs) {
    const Shown shown = show({}, {'\n', 'h', end_think, 'o', eos});
    EXPECT_EQ(shown.content, "\nh</think>o");
    EXPECT_EQ(shown.reasoning, "");
    EXPECT_EQ(shown.reasoning_tokens, 0U);
}

TEST(Output, EndIdsAndSpecialTokensMakeNoText) {
    EXPECT_EQ(show({}, {'a', FakeTokenizer::user, 'b', eos}).content, "ab");
    const Shown shown = show({.end_ids = {'x'}}, {'a', eos, 'b', 'x'});
    EXPECT_EQ(shown.content, "ab");
    EXPECT_EQ(shown.finish, chat::FinishReason::stop);
    EXPECT_EQ(shown.tokens, 4U);
}

TEST(Output, FinishesWithLengthAndShowsWhatItHeldBack) {
    const Shown shown = show({.stop = {"abX"}, .tokens_max = 3}, {'-', 'a', 'b'});
    EXPECT_EQ(shown.content, "-ab");
    EXPECT_EQ(shown.finish, chat::FinishReason::length);
    EXPECT_EQ(show({.tokens_max = 2}, {'a', FakeTokenizer::half}).content, "a\xEF\xBF\xBD");
}

TEST(Output, ShowsEverythingHeldBackWhenAnEndIdComes) {
    const OutputRules rules{.stop = {"xyz"},
                            .stop_in_reasoning = true,
                            .splits_reasoning = true,
                            .starts_thinking = true};
    EXPECT_EQ(show(rules, {'a', 'x', 'y', eos}).reasoning, "axy");
    EXPECT_EQ(show(rules, {'a', '<', '/', 't', eos}).reasoning, "a</t");
    EXPECT_EQ(show(rules, {'x', FakeTokenizer::half, eos}).reasoning, "x\xEF\xBF\xBD");
    EXPECT_EQ(show(rules, {end_think, 'a', 'x', eos}).content, "ax");
    EXPECT_EQ(show({.stop = {"xyz"}}, {'a', 'x', 'y', 'x', 'y', 'z'}).content, "axy")
        << "and what comes before a stop string";
    EXPECT_EQ(show(rules, {'<', '/', 't', 'x', 'y', 'z'}).reasoning, "</t");
}

TEST(Output, AnEndIdAtTheLastTokenIsAStopAndNotALength) {
    EXPECT_EQ(show({.tokens_max = 2}, {'a', eos}).finish, chat::FinishReason::stop);
}

TEST(Output, AStopStringEndsTheTextBeforeItInTheAnswerAndInTheThinkingIfItIsTo) {
    OutputRules rules{.stop = {"END"}, .splits_reasoning = true, .starts_thinking = true};
    Shown shown = show(rules, {'a', 'E', 'N', 'D', 'b', end_think, 'E', 'N', 'E', 'N', 'D'});
    EXPECT_EQ(shown.reasoning, "aENDb");
    EXPECT_EQ(shown.content, "EN");
    EXPECT_EQ(shown.finish, chat::FinishReason::stop);
    EXPECT_EQ(shown.reasoning_tokens, 6U);

    rules.stop_in_reasoning = true;
    shown = show(rules, {'a', 'E', 'N', 'D', 'b'});
    EXPECT_EQ(shown.reasoning, "a");
    EXPECT_EQ(shown.content, "");
    EXPECT_EQ(shown.finish, chat::FinishReason::stop);
    EXPECT_EQ(shown.tokens, 4U);
    shown = show(rules, {'a', end_think, 'E', 'N', 'E', 'N', 'D'});
    EXPECT_EQ(shown.content, "EN");
    EXPECT_EQ(shown.finish, chat::FinishReason::stop);
}

TEST(Output, StopStringsSeeWhatTheReaderSees) {
    for (const bool in_reasoning : {false, true}) {
        OutputRules rules{.stop = {"<", "\n\n"},
                          .stop_in_reasoning = in_reasoning,
                          .splits_reasoning = true,
                          .starts_thinking = true};
        const Shown shown = show(rules, {'h', '\n', '\n', '<', '/', 't', 'h', 'i', 'n', 'k', '>',
                                         '\n', '\n', 'o', 'k', '\n', '\n', 'x'});
        EXPECT_EQ(shown.reasoning, "h") << "tags and the newlines beside them are not shown";
        EXPECT_EQ(shown.content, "ok");
        EXPECT_EQ(shown.finish, chat::FinishReason::stop);
        rules.stop = {"ab"};
        EXPECT_EQ(show(rules, {'a', end_think, 'b', eos}).content, "b") << "nor across a tag";
        EXPECT_EQ(show(rules, {'a', end_think, 'b', eos}).reasoning, "a");
    }
    EXPECT_EQ(show({.stop = {"<"}}, {'a', end_think}).content, "a")
        << "a completion shows its tags";
}

TEST(Output, HeldBackTextThatCompletesAStopStringAtTheEndIsAStop) {
    OutputRules rules{.stop = {"</"},
                      .stop_in_reasoning = true,
                      .tokens_max = 3,
                      .splits_reasoning = true,
                      .starts_thinking = true};
    Shown shown = show(rules, {'a', '<', '/'});  // half a tag, until nothing follows it
    EXPECT_EQ(shown.reasoning, "a");
    EXPECT_EQ(shown.finish, chat::FinishReason::stop);
    rules.stop_in_reasoning = false;
    shown = show(rules, {'a', '<', '/'});
    EXPECT_EQ(shown.reasoning, "a</");
    EXPECT_EQ(shown.finish, chat::FinishReason::length);
}

TEST(Output, LooksForStopStringsOnlyAfterMinTokens) {
    const OutputRules rules{.stop = {"ab"}, .min_tokens = 3};
    const Shown shown = show(rules, {'a', 'b', 'a', 'b', 'a', 'b', 'c'});
    EXPECT_EQ(shown.content, "abab") << "the text of the first three tokens is not looked at";
    EXPECT_EQ(shown.finish, chat::FinishReason::stop);
    EXPECT_EQ(shown.tokens, 6U);
}

TEST(Output, EchoComesWithTheFirstTokenAndIsNotSearched) {
    static const FakeTokenizer tokenizer;
    Output output(tokenizer, {.stop = {"ab"}, .tokens_max = 5, .echo = "ab"});
    EXPECT_EQ(output.feed('a').content, "ab") << "the generated a may begin a stop string";
    EXPECT_EQ(output.feed('c').content, "ac");
}

}  // namespace holdfast::engine
