#include "common/upstream/raw_answer.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace holdfast::upstream {
namespace {

RawPiece piece(std::string text, std::vector<chat::TokenId> ids = {}) {
    RawPiece piece;
    piece.text = std::move(text);
    piece.ids.assign(ids.begin(), ids.end());
    return piece;
}

RawPiece ending(chat::FinishReason reason) {
    RawPiece piece;
    piece.finish = reason;
    return piece;
}

// What a client sees, all events together.
struct Seen {
    std::string reasoning, content;
    std::optional<chat::FinishReason> finish;
    std::optional<chat::Usage> usage;

    void add(const chat::Event& event) {
        reasoning += event.reasoning;
        content += event.content;
        if (event.finish) finish = event.finish;
        if (event.usage) usage = event.usage;
    }
};

const std::vector<std::string> tokens{"I ",  "see", ".\n", "</think>", "\n\n",
                                      "So ", "it",  " is", " so",      "."};

// One token a piece; attempts are lost before the tokens whose numbers are in `losses`.
Seen play(const chat::Stopping& stopping, const std::vector<std::size_t>& losses = {}) {
    RawAnswer answer(stopping, true, {.text = "<think>\n", .ids = {}, .opens_thinking = true});
    Seen seen;
    answer.begin_attempt();
    for (std::size_t i = 0; i <= tokens.size() && !answer.finished(); ++i) {
        if (std::ranges::find(losses, i) != losses.end()) answer.begin_attempt();
        RawPiece next = i == tokens.size() ? ending(chat::FinishReason::stop)
                                           : piece(tokens[i], {static_cast<chat::TokenId>(i)});
        next.prompt_tokens = 4 + answer.tokens();
        if (stopping.max_tokens && i + 1 == *stopping.max_tokens)
            next.finish = chat::FinishReason::length;
        auto event = answer.feed(std::move(next));
        EXPECT_TRUE(event);
        if (event) seen.add(*event);
    }
    return seen;
}

void expect_equal(const Seen& left, const Seen& right) {
    EXPECT_EQ(left.reasoning, right.reasoning);
    EXPECT_EQ(left.content, right.content);
    EXPECT_EQ(left.finish, right.finish);
    ASSERT_TRUE(left.usage && right.usage);
    EXPECT_EQ(left.usage->completion_tokens, right.usage->completion_tokens);
    EXPECT_EQ(left.usage->reasoning_tokens, right.usage->reasoning_tokens);
}

TEST(RawAnswer, TellsThinkingFromTheAnswerAndCounts) {
    const Seen seen = play({});
    EXPECT_EQ(seen.reasoning, "I see.");
    EXPECT_EQ(seen.content, "So it is so.");
    EXPECT_EQ(seen.finish, chat::FinishReason::stop);
    ASSERT_TRUE(seen.usage);
    EXPECT_EQ(seen.usage->completion_tokens, tokens.size());
    EXPECT_EQ(seen.usage->reasoning_tokens, 4U);
}

TEST(RawAnswer, IsTheSameWhereverItsServersAreLost) {
    chat::Stopping stopping;
    const auto all_losses = [&] {
        const Seen undisturbed = play(stopping);
        for (std::size_t i = 1; i <= tokens.size(); ++i) {
            SCOPED_TRACE(i);
            expect_equal(play(stopping, {i}), undisturbed);
            expect_equal(play(stopping, {1, i, i + 1}), undisturbed);
        }
        return undisturbed;
    };
    all_losses();
    stopping.stop = {"t is s"};
    EXPECT_EQ(all_losses().content, "So i");
    stopping.stop = {"\n"};  // only in the thinking, which it does not end
    EXPECT_EQ(all_losses().content, "So it is so.");
    stopping.stop = {"e."};
    EXPECT_EQ(all_losses().content, "So it is so.");
    stopping.stop_in_reasoning = true;
    EXPECT_EQ(all_losses().reasoning, "I se");
    EXPECT_EQ(all_losses().content, "");
    stopping.stop_in_reasoning = false;
    stopping.max_tokens = 7;
    EXPECT_EQ(all_losses().finish, chat::FinishReason::length);
}

TEST(RawAnswer, GoesOnFromIdsAndFromTextWhereIdsAreMissing) {
    RawAnswer answer({}, false, {.text = "Once"});
    answer.begin_attempt();
    ASSERT_TRUE(answer.feed(piece("a", {1})));
    RawPiece character = piece("你", {3});  // of two tokens, one of which was not told
    character.tokens = 3;
    ASSERT_TRUE(answer.feed(std::move(character)));
    RawPiece last = piece("b", {4});
    last.tokens = 4;
    ASSERT_TRUE(answer.feed(std::move(last)));
    ASSERT_EQ(answer.said().size(), 3U);
    EXPECT_EQ(answer.said()[0].ids, std::vector<chat::TokenId>{1});
    EXPECT_EQ(answer.said()[1].text, "你");
    EXPECT_EQ(answer.said()[2].ids, std::vector<chat::TokenId>{4});
    EXPECT_EQ(answer.tokens(), 4U);
}

TEST(RawAnswer, LeavesATokenWithoutTextToTheNextAttempt) {
    RawAnswer answer({}, false, {.text = "Once", .ids = {9}});
    answer.begin_attempt();
    ASSERT_TRUE(answer.feed(piece("a", {1})));
    RawPiece half = piece("", {2});
    half.scores.emplace_back();
    const auto nothing = answer.feed(std::move(half));
    ASSERT_TRUE(nothing);
    EXPECT_TRUE(nothing->content.empty() && nothing->scores.empty());
    answer.begin_attempt();
    EXPECT_EQ(answer.tokens(), 1U);
    ASSERT_TRUE(answer.feed(piece("", {2})));
    EXPECT_EQ(answer.feed(piece("你", {3}))->content, "你");
    EXPECT_EQ(answer.said()[0].ids, (std::vector<chat::TokenId>{1, 2, 3}));
}

TEST(RawAnswer, LearnsThePromptFromTheFirstEvent) {
    RawAnswer answer({}, false, {.text = "Once"});
    answer.begin_attempt();
    RawPiece first = piece("a", {1});
    first.prompt_ids = {7, 8};
    ASSERT_TRUE(answer.feed(std::move(first)));
    EXPECT_EQ(answer.prompt().ids, (std::vector<chat::TokenId>{7, 8}));
    EXPECT_EQ(answer.feed(ending(chat::FinishReason::stop))->usage->prompt_tokens, 2U);
}

TEST(RawAnswer, EndsAtAnIdThatTheServerWentOnAfter) {
    chat::Stopping stopping;
    stopping.stop_token_ids = {5};
    stopping.min_tokens = 1;
    RawAnswer answer(stopping, false, {.text = "Once"});
    answer.begin_attempt();
    EXPECT_EQ(answer.feed(piece("a", {5}))->content, "a");
    const auto end = answer.feed(piece("b", {5}));
    EXPECT_EQ(end->finish, chat::FinishReason::stop);
    EXPECT_EQ(end->content, "");
    EXPECT_EQ(end->usage->completion_tokens, 2U);
}

TEST(RawAnswer, DoesNotBelieveAServerThatSaysMoreThanItWasAskedFor) {
    chat::Stopping stopping;
    stopping.max_tokens = 2;
    RawAnswer answer(stopping, false, {.text = "Once"});
    answer.begin_attempt();
    ASSERT_TRUE(answer.feed(piece("a", {1})));
    const auto event = answer.feed(piece("b", {2, 3}));
    ASSERT_FALSE(event);
    EXPECT_EQ(event.error().code, base::Code::corrupt);
}

}  // namespace
}  // namespace holdfast::upstream
