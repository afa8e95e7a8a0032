#include "service/gateway/pooled_entropy.h"

#include <gtest/gtest.h>

#include <set>

namespace holdfast::gateway {
namespace {

TEST(PooledEntropy, GivesNoNumberTwiceNeitherWithinNorBetweenPools) {
    PooledEntropy one, another;
    std::set<std::uint64_t> seen;
    for (int i = 0; i < 500; ++i) {
        EXPECT_TRUE(seen.insert(one.next()).second);
        EXPECT_TRUE(seen.insert(another.next()).second);
    }
    EXPECT_FALSE(seen.contains(0));
}

}  // namespace
}  // namespace holdfast::gateway
