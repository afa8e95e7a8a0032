#include "common/chat/stop_matcher.h"

#include <gtest/gtest.h>

#include <random>

namespace holdfast::chat {
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

}  // namespace holdfast::chat
