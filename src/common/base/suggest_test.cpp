#include "common/base/suggest.h"

#include <gtest/gtest.h>

#include <array>

namespace holdfast::base {

const std::array<std::string, 3> candidates{"gateway.listen", "timeouts.total", "log.level"};

TEST(EditDistance, CountsInsertionsDeletionsReplacementsAndSwaps) {
    EXPECT_EQ(edit_distance("", ""), 0U);
    EXPECT_EQ(edit_distance("abc", ""), 3U);
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
    EXPECT_EQ(edit_distance("lisetn", "listen"), 1U);
}

TEST(Nearest, FindsTypingErrorsAndForgottenSections) {
    EXPECT_EQ(nearest("gateway.lisen", candidates), "gateway.listen");
    EXPECT_EQ(nearest("listen", candidates), "gateway.listen");
    EXPECT_EQ(nearest("keeper.total", candidates), "timeouts.total");
}

TEST(Nearest, SaysNothingWhenNothingIsNear) {
    EXPECT_FALSE(nearest("quantization", candidates).has_value());
    EXPECT_FALSE(nearest("", candidates).has_value());
    EXPECT_FALSE(nearest(std::string(1000, 'x'), candidates).has_value());
}

}  // namespace holdfast::base
