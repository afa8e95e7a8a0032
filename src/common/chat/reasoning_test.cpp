#include "common/chat/reasoning.h"

#include <gtest/gtest.h>

#include <random>

namespace holdfast::chat {
namespace {

struct Split {
    std::string reasoning, content;
    bool operator==(const Split&) const = default;
};

void add(Split& split, const ReasoningSplitter::Parts& parts) {
    split.reasoning += parts.reasoning;
    split.content += parts.content;
}

ReasoningSplitter::Start start_of(bool thinking) {
    return thinking ? ReasoningSplitter::Start::thinking : ReasoningSplitter::Start::answer;
}

Split split(bool starts_thinking, const std::vector<std::string_view>& feeds) {
    ReasoningSplitter splitter(start_of(starts_thinking));
    Split all;
    for (const std::string_view text : feeds) add(all, splitter.feed(text));
    add(all, splitter.flush());
    return all;
}

// The same by looking at the whole text at once.
Split split_whole(bool thinking, std::string text) {
    const auto after_newlines = [](const std::string& from) {
        return from.substr(std::min(from.find_first_not_of("\r\n"), from.size()));
    };
    bool tagged = thinking;
    if (const std::string rest = after_newlines(text); rest.starts_with("<think>")) {
        text = rest.substr(7);
        thinking = tagged = true;
    }
    if (tagged) text = after_newlines(text);
    if (!thinking) return {"", text};
    const std::size_t close = text.find("</think>");
    if (close == std::string::npos) return {text, ""};
    const std::string reasoning = text.substr(0, close);
    return {reasoning.substr(0, reasoning.find_last_not_of("\r\n") + 1),
            after_newlines(text.substr(close + 8))};
}

struct Case {
    bool starts_thinking;
    std::string text, reasoning, content;
};

const std::vector<Case> cases = {
    {true, "step by step\n</think>\n\nanswer", "step by step", "answer"},
    {true, "\n\nstep\n\nby step\n</think>answer\n", "step\n\nby step", "answer\n"},
    {true, "<think>\nolder template\n</think>\n\nanswer", "older template", "answer"},
    {true, "\n<think>\n</think>\n\nanswer", "", "answer"},
    {true, "</think>", "", ""},
    {true, "cut off by length\n", "cut off by length\n", ""},
    {true, "a </thin </think>b", "a </thin ", "b"},
    {true, "a <</think>b", "a <", "b"},
    {true, "a </</think></think> b", "a </", "</think> b"},
    {true, "a <think> b</think>c", "a <think> b", "c"},
    {true, "ends in half a tag\n</thi", "ends in half a tag\n</thi", ""},
    {true, "a</think><think>b</think>c", "a", "<think>b</think>c"},
    {true, "\n\n", "", ""},
    {false, "\n\nplain\n", "", "\n\nplain\n"},
    {false, "\n", "", "\n"},
    {false, "\n<think>\nx\n</think>\ny", "x", "y"},
    {false, "<think", "", "<think"},
    {false, "\n<thinker>", "", "\n<thinker>"},
    {false, "text <think>no</think>", "", "text <think>no</think>"},
    {false, "text </think> more", "", "text </think> more"},
    {true, "", "", ""},
    {true, "思考。\r\n</think>\r\n\r\n答え", "思考。", "答え"},
};

}  // namespace

TEST(ReasoningSplitter, DividesAtTheFirstClosingTagAndDropsNewlinesAroundTags) {
    for (const Case& c : cases) {
        EXPECT_EQ(split(c.starts_thinking, {c.text}), (Split{c.reasoning, c.content})) << c.text;
    }
}

TEST(ReasoningSplitter, GivesTheSamePartsHoweverTheTextIsCut) {
    for (const Case& c : cases) {
        const Split expected{c.reasoning, c.content};
        const std::string_view text = c.text;
        for (std::size_t i = 0; i <= text.size(); ++i)
            for (std::size_t j = i; j <= text.size(); ++j)
                ASSERT_EQ(split(c.starts_thinking,
                                {text.substr(0, i), text.substr(i, j - i), text.substr(j)}),
                          expected)
                    << c.text << " cut at " << i << " and " << j;
    }
}

TEST(ReasoningSplitter, AgreesWithSplittingTheWholeTextOnRandomMixturesOfTagsAndNewlines) {
    std::mt19937 random(11);
    const std::vector<std::string> words = {"<think>", "</think>", "\n", "\r\n", "<", "</",
                                            "think>",  "</thi",    "a",  " b",   "é", "<think"};
    for (int round = 0; round < 20'000; ++round) {
        std::string text;
        std::vector<std::string_view> feeds;
        for (unsigned n = random() % 9; n > 0; --n) text += words[random() % words.size()];
        const bool thinking = random() % 2 == 0;
        for (std::string_view rest = text; !rest.empty();) {
            const std::size_t length = 1 + random() % rest.size();
            feeds.push_back(rest.substr(0, length));
            rest.remove_prefix(length);
        }
        ASSERT_EQ(split(thinking, feeds), split_whole(thinking, text)) << thinking << " " << text;
    }
}

TEST(ReasoningSplitter, SaysWhichPartIsBeingWritten) {
    ReasoningSplitter splitter(ReasoningSplitter::Start::answer);
    EXPECT_FALSE(splitter.thinking());
    splitter.feed("<think>");
    EXPECT_TRUE(splitter.thinking());
    splitter.feed("x</think");
    EXPECT_TRUE(splitter.thinking());
    splitter.feed(">");
    EXPECT_FALSE(splitter.thinking());
}

TEST(ReasoningSplitter, ShowsTextAtOnceUnlessATagOrANewlineMightBeComing) {
    ReasoningSplitter splitter(ReasoningSplitter::Start::thinking);
    EXPECT_EQ(splitter.feed("one").reasoning, "one");
    EXPECT_EQ(splitter.feed("\n").reasoning, "");
    EXPECT_EQ(splitter.feed("two <").reasoning, "\ntwo ");
    EXPECT_EQ(splitter.feed("b").reasoning, "<b");
    splitter.feed("</think>");
    EXPECT_EQ(splitter.feed("answer\n").content, "answer\n");
    EXPECT_EQ(splitter.feed("<").content, "<");
}

TEST(ReasoningSplitter, GoesOnWithinThinkingWithoutDroppingANewline) {
    ReasoningSplitter splitter(ReasoningSplitter::Start::within_thinking);
    EXPECT_EQ(splitter.feed("\n").reasoning, "");  // may stand before the closing tag
    EXPECT_EQ(splitter.feed("<think>").reasoning, "\n<think>");
    const auto parts = splitter.feed("x\r\n</think>\n\ny");
    EXPECT_EQ(parts.reasoning, "x");
    EXPECT_EQ(parts.content, "y");
}

TEST(ReasoningSplitter, SaysWhenNothingButTheAnswerCanFollow) {
    ReasoningSplitter plain(ReasoningSplitter::Start::answer);
    plain.feed("\n<thi");
    EXPECT_FALSE(plain.settled());
    plain.feed("s");
    EXPECT_TRUE(plain.settled());
    ReasoningSplitter thinks(ReasoningSplitter::Start::thinking);
    thinks.feed("a</think>\n");
    EXPECT_FALSE(thinks.settled());
    thinks.feed("b");
    EXPECT_TRUE(thinks.settled());
}

}  // namespace holdfast::chat
