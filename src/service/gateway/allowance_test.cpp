#include "service/gateway/allowance.h"

#include <gtest/gtest.h>

namespace holdfast::gateway {
namespace {

using namespace std::chrono_literals;

http::Headers asked(std::string_view milliseconds) {
    http::Headers headers;
    headers.add("x-holdfast-timeout-ms", milliseconds);
    return headers;
}

TEST(Allowance, IsShortenedByTheClientAndNeverLengthened) {
    const base::Instant arrived{1h};
    Options options;
    options.timeouts.total = 10s;
    const auto deadline = [&](const http::Headers& headers) {
        return settle_allowance(options, headers, arrived)->deadline.at() - arrived;
    };
    EXPECT_EQ(deadline({}), 10s);
    EXPECT_EQ(deadline(asked("500")), 500ms);
    EXPECT_EQ(deadline(asked("20000")), 10s);
    EXPECT_EQ(deadline(asked("9223372036854775807")), 10s);
    for (const char* wrong : {"0", "-1", "1.5", "x", "", "9223372036854775808"}) {
        const auto allowance = settle_allowance(options, asked(wrong), arrived);
        ASSERT_FALSE(allowance) << wrong;
        EXPECT_EQ(allowance.error().field, "x-holdfast-timeout-ms");
    }
}

TEST(Allowance, AsksWorkersForProgressWellWithinEveryLimit) {
    Options options;
    EXPECT_EQ(settle_allowance(options, {}, {})->progress_every(), 7500ms);
    options.timeouts.token_gap = 10h;
    EXPECT_EQ(settle_allowance(options, {}, {})->progress_every(), 10s);
    options.timeouts.first_token = 400ms;
    EXPECT_EQ(settle_allowance(options, {}, {})->progress_every(), 100ms);
    options.timeouts.first_token = 1ms;
    EXPECT_EQ(settle_allowance(options, {}, {})->progress_every(), 10ms);
}

}  // namespace
}  // namespace holdfast::gateway
