#include "inference/engine/exact_math.h"

#include <gtest/gtest.h>

#include <cmath>

namespace holdfast::engine {

TEST(ExactMath, ExpAgreesWithTheLibrarysToTheLastBits) {
    for (double x = -45.0; x <= 10.0; x += 0.000977) {
        const double expected = std::exp(x);
        ASSERT_NEAR(exact_exp(x), expected, 4e-16 * expected) << x;
    }
}

TEST(ExactMath, LogAgreesWithTheLibrarysToTheLastBits) {
    for (double x = 1e-12; x < 1e12; x *= 1.0009765) {
        const double expected = std::log(x);
        ASSERT_NEAR(exact_log(x), expected, 4e-16 * std::max(1.0, std::abs(expected))) << x;
    }
}

TEST(ExactMath, IsExactWhereTheResultIs) {
    EXPECT_EQ(exact_exp(0.0), 1.0);
    EXPECT_EQ(exact_log(1.0), 0.0);
}

// The numerics contract: these bits must never change, on any machine or compiler.
TEST(ExactMath, GivesTheSameBitsEverywhere) {
    std::uint64_t mixed = 0;
    for (int i = 0; i < 1000; ++i) {
        mixed = mixed * 31 + std::bit_cast<std::uint64_t>(exact_exp(-i * 0.0317));
        mixed = mixed * 31 + std::bit_cast<std::uint64_t>(exact_log(1.0 + i * 17.31));
    }
    EXPECT_EQ(mixed, 0x621b8cc0386b3199ULL);
}

}  // namespace holdfast::engine
