// What docs/api.md says of every field, tried.
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "common/dialect/dialect.h"

namespace holdfast::dialect {
namespace {

using Row = std::vector<std::string>;

// The cells of a line of a table, without blanks and backquotes.
Row cells(const std::string& line) {
    Row row;
    std::istringstream stream(line.substr(1));
    for (std::string cell; std::getline(stream, cell, '|');) {
        const std::size_t first = cell.find_first_not_of(" `");
        const std::size_t last = cell.find_last_not_of(" `");
        row.push_back(first == cell.npos ? "" : cell.substr(first, last - first + 1));
    }
    return row;
}

// The lines of the table under a heading of docs/api.md, without its head.
std::vector<Row> table(const std::string& heading) {
    std::ifstream file(HOLDFAST_SOURCE_DIR "/docs/api.md");
    std::vector<Row> rows;
    bool is_here = false;
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("## ")) is_here = line == "## " + heading;
        if (is_here && line.starts_with("|")) rows.push_back(cells(line));
    }
    EXPECT_GT(rows.size(), 2U) << heading;
    if (rows.size() > 2) rows.erase(rows.begin(), rows.begin() + 2);
    return rows;
}

base::Result<chat::Request> ask(const std::string& path, const std::string& members) {
    const std::string prompt = path == "/v1/completions"
                                   ? R"("prompt":"x")"
                                   : R"("messages":[{"role":"user","content":"x"}])";
    const std::string body = R"({"model":"r1",)" + prompt + members + "}";
    return find("POST", path).route->parse(body);
}

// With what the field needs beside it.
base::Result<chat::Request> ask_number(const std::string& field, const std::string& number) {
    const bool is_text = field == "logprobs" || field == "best_of";
    std::string more;
    if (field == "top_logprobs") more = R"(,"logprobs":true)";
    if (field == "best_of") more = R"(,"n":)" + number;
    return ask(is_text ? "/v1/completions" : "/v1/chat/completions",
               ",\"" + field + "\":" + number + more);
}

// One step beyond a whole number, a small step beyond another.
std::string beyond(const std::string& number, int direction) {
    if (number == "18446744073709551615") return "18446744073709551616";
    if (number == "-9223372036854775808") return "-9223372036854775809";
    const bool is_whole = number.find('.') == number.npos;
    return is_whole ? std::to_string(std::stoll(number) + direction)
                    : std::to_string(std::stod(number) + direction * 0.001);
}

TEST(Fields, TakeNumbersToBothEndsOfTheirRangesAndNoFurther) {
    for (const Row& row : table("Numbers")) {
        ASSERT_GE(row.size(), 3U);
        for (const int end : {1, 2}) {
            EXPECT_TRUE(ask_number(row[0], row[end])) << row[0] << " " << row[end];
            std::string outside = beyond(row[end], end == 1 ? -1 : 1);
            if (row[0].starts_with("max_") && outside == "0") EXPECT_TRUE(ask_number(row[0], "-1"));
            const auto refused = ask_number(row[0], outside);
            ASSERT_FALSE(refused) << row[0] << " " << outside;
            EXPECT_TRUE(refused.error().field == row[0] || row[0] == "best_of");
        }
    }
}

TEST(Fields, ThatThisServerDoesNotHaveAreRefusedByNameUnlessTheyAskForNothing) {
    std::set<std::string> names;
    for (const Row& row : table("Refused by name")) {
        ASSERT_GE(row.size(), 3U);
        EXPECT_TRUE(names.insert(row[0]).second) << row[0];
        const auto of = [&](const std::string& value) {
            return ask("/v1/chat/completions", ",\"" + row[0] + "\":" + value);
        };
        const std::string neutral = row[2].empty() ? "[]" : row[2];
        EXPECT_TRUE(of(neutral)) << row[0];
        EXPECT_TRUE(of("null")) << row[0];
        // Something else of the same type.
        const std::string other = neutral == "true"          ? "false"
                                  : neutral == "false"       ? "true"
                                  : neutral.starts_with('[') ? R"(["other"])"
                                                             : "7";
        const auto refused = of(other);
        ASSERT_FALSE(refused) << row[0];
        EXPECT_TRUE(refused.error().field.starts_with(row[0])) << refused.error().field;
    }
}

TEST(Fields, ThatChangeNothingAreIgnoredWhateverTheySay) {
    for (const Row& row : table("Ignored"))
        for (const std::string value : {"true", "7", "\"x\"", "[1]", R"({"a":1})"})
            EXPECT_TRUE(ask("/v1/chat/completions", ",\"" + row[0] + "\":" + value)) << row[0];
}

TEST(Fields, DrawASeedWhereMinusOneAsksForOne) {
    EXPECT_FALSE(ask("/v1/chat/completions", R"(,"seed":-1)")->generation.sampling.seed);
    EXPECT_FALSE(ask("/v1/chat/completions", R"(,"seed":-1.0)")->generation.sampling.seed);
    EXPECT_EQ(ask("/v1/chat/completions", R"(,"seed":-2)")->generation.sampling.seed,
              0xFFFF'FFFF'FFFF'FFFEU);
    EXPECT_EQ(ask("/v1/chat/completions", R"(,"seed":0)")->generation.sampling.seed, 0U);
}

}  // namespace
}  // namespace holdfast::dialect
