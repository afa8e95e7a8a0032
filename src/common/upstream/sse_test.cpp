#include "common/upstream/sse.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace holdfast::upstream {
namespace {

using Events = std::vector<std::pair<std::string, std::string>>;

Events take_all(SseParser& parser) {
    Events events;
    while (true) {
        const auto event = parser.next();
        EXPECT_TRUE(event);
        if (!event || !*event) return events;
        events.emplace_back((*event)->type, (*event)->data);
    }
}

Events parse_cut(std::string_view text, std::size_t cut) {
    SseParser parser;
    parser.feed(text.substr(0, cut));
    Events events = take_all(parser);
    parser.feed(text.substr(cut));
    for (auto& event : take_all(parser)) events.push_back(std::move(event));
    return events;
}

TEST(SseParser, ReadsTheSameEventsWhereverTheTextIsCut) {
    const std::string text =
        "\xef\xbb\xbf: comment\n\ndata: one\n\n"
        "event: note\r\ndata: two\r\ndata:  lines\r\n\r\n"
        "data:three\rid: 7\rretry: 10\r\r"
        "event: nothing\n\n"
        "data\n\n"
        "unknown: x\ndata: {\"a\": \"b: c\"}\n\n"
        "data: [DONE]\n\ndata: incomplete\n";
    const Events expected{{"", "one"}, {"note", "two\n lines"},   {"", "three"},
                          {"", ""},    {"", "{\"a\": \"b: c\"}"}, {"", "[DONE]"}};
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        ASSERT_EQ(parse_cut(text, cut), expected) << "cut at " << cut;
    }
    SseParser parser;
    Events events;
    for (const char c : text) {
        parser.feed(std::string_view(&c, 1));
        for (auto& event : take_all(parser)) events.push_back(std::move(event));
    }
    EXPECT_EQ(events, expected);
}

TEST(SseParser, KeepsViewsUntilTheNextEventIsTaken) {
    SseParser parser;
    parser.feed("event: a\ndata: first\n\ndata: second\n\n");
    const auto event = parser.next();
    ASSERT_TRUE(event && *event);
    EXPECT_EQ((*event)->data, "first");
    EXPECT_EQ((*event)->type, "a");
    const auto second = parser.next();
    ASSERT_TRUE(second && *second);
    EXPECT_EQ((*second)->data, "second");
    EXPECT_EQ((*second)->type, "");
}

TEST(SseParser, KeepsALineWhoseEventEndsManyReadsLater) {
    SseParser parser;
    parser.feed("data: gone\n\ndata: kept\n");
    EXPECT_EQ(take_all(parser).size(), 1);
    for (int i = 0; i < 1000; ++i) {
        parser.feed(": a comment that fills the buffer\n");
        EXPECT_TRUE(take_all(parser).empty());
    }
    parser.feed("data\n");
    EXPECT_TRUE(take_all(parser).empty());
    parser.feed("\n");
    EXPECT_EQ(take_all(parser), (Events{{"", "kept\n"}}));
}

TEST(SseParser, RefusesAnEventThatNeverEnds) {
    SseParser one_line(100);
    one_line.feed("data: " + std::string(200, 'x'));
    EXPECT_EQ(one_line.next().error().code, base::Code::corrupt);

    SseParser many_lines(100);
    for (int i = 0; i < 60; ++i) many_lines.feed("data: x\n");
    EXPECT_EQ(many_lines.next().error().code, base::Code::corrupt);

    SseParser large_whole(100);
    large_whole.feed("data: " + std::string(200, 'x') + "\n\n");
    EXPECT_EQ(large_whole.next().error().code, base::Code::corrupt);
}

}  // namespace
}  // namespace holdfast::upstream
