#include "service/gateway/retry_budget.h"

#include <gtest/gtest.h>

namespace holdfast::gateway {

using namespace std::chrono_literals;

TEST(RetryBudget, AllowsABurstThenOnlyWhatTrafficAndTimeBringIn) {
    base::FakeClock clock;
    RetryBudget budget(clock, {.ratio = 0.5, .min_per_second = 2, .burst_max = 3});
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(budget.withdraw());
    EXPECT_FALSE(budget.withdraw());
    budget.deposit();
    EXPECT_FALSE(budget.withdraw());
    budget.deposit();
    EXPECT_TRUE(budget.withdraw());
    EXPECT_FALSE(budget.withdraw());
    clock.advance(1s);
    EXPECT_TRUE(budget.withdraw());
    EXPECT_TRUE(budget.withdraw());
    EXPECT_FALSE(budget.withdraw());
    clock.advance(1h);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(budget.withdraw());
    EXPECT_FALSE(budget.withdraw());
}

}  // namespace holdfast::gateway
