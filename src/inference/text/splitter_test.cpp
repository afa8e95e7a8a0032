#include "inference/text/splitter.h"

#include <gtest/gtest.h>

#include <random>

namespace holdfast::text {
namespace {

struct Split {
    std::string reasoning, content;
    bool operator==(const Split&) const = default;
};

void add(Split& split, const ReasoningSplitter::Parts& parts) {
    split.reasoning += parts.reasoning;
    split.content += parts.content;
}

Split split(bool starts_thinking, const std::vector<std::string_view>& feeds) {
    ReasoningSplitter splitter(starts_thinking);
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
    ReasoningSplitter splitter(false);
    EXPECT_FALSE(splitter.thinking());
    splitter.feed("<think>");
    EXPECT_TRUE(splitter.thinking());
    splitter.feed("x</think");
    EXPECT_TRUE(splitter.thinking());
    splitter.feed(">");
    EXPECT_FALSE(splitter.thinking());
}

TEST(ReasoningSplitter, ShowsTextAtOnceUnlessATagOrANewlineMightBeComing) {
    ReasoningSplitter splitter(true);
    EXPECT_EQ(splitter.feed("one").reasoning, "one");
    EXPECT_EQ(splitter.feed("\n").reasoning, "");
    EXPECT_EQ(splitter.feed("two <").reasoning, "\ntwo ");
    EXPECT_EQ(splitter.feed("b").reasoning, "<b");
    splitter.feed("</think>");
    EXPECT_EQ(splitter.feed("answer\n").content, "answer\n");
    EXPECT_EQ(splitter.feed("<").content, "<");
}

namespace {

struct Stopped {
    std::string text;
    bool stopped = false;
    bool operator==(const Stopped&) const = default;
};

Stopped match(const std::vector<std::string>& stops, const std::vector<std::string_view>& feeds) {
    StopMatcher matcher(stops);
    Stopped all;
    for (const std::string_view text : feeds) {
        const StopMatcher::Output output = matcher.feed(text);
        all.text += output.text;
        all.stopped = output.stopped;
    }
    all.text += matcher.flush();
    return all;
}

// The same by trying every stop at every end position.
Stopped match_whole(const std::vector<std::string>& stops, const std::string& text) {
    for (std::size_t end = 1; end <= text.size(); ++end) {
        std::size_t longest = 0;
        for (const std::string& stop : stops)
            if (std::string_view(text).substr(0, end).ends_with(stop))
                longest = std::max(longest, stop.size());
        if (longest > 0) return {text.substr(0, end - longest), true};
    }
    return {text, false};
}

}  // namespace

TEST(StopMatcher, CutsBeforeTheStopStringThatIsCompleteFirst) {
    EXPECT_EQ(match({"END"}, {"the END is near"}), (Stopped{"the ", true}));
    EXPECT_EQ(match({"near", "END"}, {"the END is near"}), (Stopped{"the ", true}));
    EXPECT_EQ(match({"D", "END"}, {"the END"}), (Stopped{"the ", true}));
    EXPECT_EQ(match({"\n\n"}, {"a\n", "\nb"}), (Stopped{"a", true}));
    EXPECT_EQ(match({"aab"}, {"aaaab"}), (Stopped{"aa", true}));
    EXPECT_EQ(match({"END"}, {"nothing to EN"}), (Stopped{"nothing to EN", false}));
    EXPECT_EQ(match({"結束"}, {"到此結", "束了"}), (Stopped{"到此", true}));
}

TEST(StopMatcher, PassesEverythingThroughWithoutStopStrings) {
    StopMatcher none({});
    EXPECT_EQ(none.feed("text").text, "text");
    StopMatcher empty({""});
    EXPECT_EQ(empty.feed("text").text, "text");
    EXPECT_FALSE(empty.feed("text").stopped);
}

TEST(StopMatcher, HoldsBackNoMoreThanWhatMightBecomeAStopString) {
    StopMatcher matcher({"abcd", "x"});
    EXPECT_EQ(matcher.feed("12ab").text, "12");
    EXPECT_EQ(matcher.feed("").text, "");
    EXPECT_EQ(matcher.feed("ab").text, "ab");
    EXPECT_EQ(matcher.feed("c").text, "");
    EXPECT_EQ(matcher.feed("e").text, "abce");
    EXPECT_EQ(matcher.flush(), "");
}

TEST(StopMatcher, StaysStopped) {
    StopMatcher matcher({"x"});
    EXPECT_TRUE(matcher.feed("ax").stopped);
    const StopMatcher::Output later = matcher.feed("more");
    EXPECT_TRUE(later.stopped);
    EXPECT_EQ(later.text, "");
    EXPECT_EQ(matcher.flush(), "");
}

TEST(StopMatcher, AgreesWithSearchingTheWholeTextHoweverItIsCut) {
    std::mt19937 random(5);
    const auto letters = [&](std::size_t length_max) {
        std::string text;
        for (std::size_t n = random() % (length_max + 1); n > 0; --n)
            text += static_cast<char>('a' + random() % 2);
        return text;
    };
    for (int round = 0; round < 20'000; ++round) {
        std::vector<std::string> stops;
        for (unsigned n = 1 + random() % 3; n > 0; --n) stops.push_back(letters(6) + "b");
        const std::string text = letters(20);
        std::vector<std::string_view> feeds;
        for (std::string_view rest = text; !rest.empty();) {
            const std::size_t length = 1 + random() % rest.size();
            feeds.push_back(rest.substr(0, length));
            rest.remove_prefix(length);
        }
        ASSERT_EQ(match(stops, feeds), match_whole(stops, text)) << text;
    }
}

}  // namespace holdfast::text
