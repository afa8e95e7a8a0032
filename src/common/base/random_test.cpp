#include "common/base/random.h"

#include <gtest/gtest.h>

namespace holdfast::base {

// Known-answer vectors of the Random123 distribution (kat_vectors, philox4x32 10).
TEST(Philox, MatchesThePublishedVectors) {
    EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
              (std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
              (std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
    EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              (std::array<std::uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Uniform, DependsOnEachCoordinateAndStaysBelowOne) {
    const float base = uniform(7, 0, 0);
    EXPECT_EQ(base, uniform(7, 0, 0));
    EXPECT_NE(base, uniform(8, 0, 0));
    EXPECT_NE(base, uniform(7, 1, 0));
    EXPECT_NE(base, uniform(7, 0, 1));
    double sum = 0;
    for (int i = 0; i < 10'000; ++i) {
        const float u = uniform(42, 3, i);
        ASSERT_GE(u, 0.0F);
        ASSERT_LT(u, 1.0F);
        sum += u;
    }
    EXPECT_NEAR(sum / 10'000, 0.5, 0.02);
}

}  // namespace holdfast::base
