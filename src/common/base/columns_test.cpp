#include "common/base/columns.h"

#include <gtest/gtest.h>

namespace holdfast::base {
namespace {

TEST(Columns, AlignTextLeftAndNumbersRight) {
    EXPECT_EQ(align({{"A", "N"}, {"long", "1"}, {"ü", "100"}}, 1),
              "A       N\nlong    1\nü     100\n");
}

TEST(Columns, EndNoLineWithSpaces) { EXPECT_EQ(align({{"A", "B"}, {"x", ""}}, 2), "A  B\nx\n"); }

}  // namespace
}  // namespace holdfast::base
