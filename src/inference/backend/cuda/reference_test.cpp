#include "inference/backend/cuda/reference.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "common/base/random.h"
#include "inference/backend/cuda/test_operands.h"

namespace holdfast::cuda {
namespace {

using testing::encode;

using Bits = std::vector<std::uint16_t>;

Bits of(Operand type, std::initializer_list<float> values) {
    Bits bits;
    for (const float value : values) bits.push_back(encode(type, value));
    return bits;
}

TEST(Reference, AddsSmallIntegersExactly) {
    for (const Operand type : {Operand::bf16, Operand::f16}) {
        EXPECT_EQ(tensor_core_step(type, of(type, {1, 2, -3}), of(type, {4, 5, 6}), 0.5F), -3.5F);
        EXPECT_EQ(tensor_core_step(type, of(type, {0, 0}), of(type, {1, 0}), 7.25F), 7.25F);
    }
}

TEST(Reference, CutsOffTwentyFiveBitsBelowTheLargestExponent) {
    const auto type = Operand::bf16;
    const float tiny = 0x1p-13F;
    // 1 + 2^-25 is kept inside a step, but not by float32; twice 2^-25 make a bit that is.
    EXPECT_EQ(tensor_core_step(type, of(type, {1, tiny}), of(type, {1, 0x1p-12F}), 0), 1.0F);
    EXPECT_EQ(tensor_core_step(type, of(type, {1, tiny, tiny, tiny, tiny}),
                               of(type, {1, 0x1p-12F, 0x1p-12F, 0x1p-12F, 0x1p-12F}), 0),
              1.0F + 0x1p-23F);
    // 2^-26 is lost, however often.
    EXPECT_EQ(tensor_core_step(type, of(type, {1, tiny, tiny, tiny, tiny}),
                               of(type, {1, tiny, tiny, tiny, tiny}), 0),
              1.0F);
}

TEST(Reference, CutsOffTowardsZeroOnBothSides) {
    const auto type = Operand::bf16;
    const float just_more = 1.0F + 0x1p-23F;
    EXPECT_EQ(tensor_core_step(type, of(type, {0x1p-12F}), of(type, {0x1.8p-12F}), just_more),
              just_more);
    EXPECT_EQ(tensor_core_step(type, of(type, {-0x1p-12F}), of(type, {0x1.8p-12F}), -just_more),
              -just_more);
}

TEST(Reference, HandlesSubnormalAndSpecialValues) {
    const auto type = Operand::bf16;
    const float infinite = std::numeric_limits<float>::infinity();
    EXPECT_EQ(tensor_core_step(type, of(type, {0x1p-133F}), of(type, {1}), 0), 0x1p-133F);
    EXPECT_EQ(tensor_core_step(type, of(type, {infinite}), of(type, {-1}), 1), -infinite);
    EXPECT_TRUE(std::isnan(tensor_core_step(type, of(type, {infinite}), of(type, {0}), 1)));
    EXPECT_TRUE(std::isnan(tensor_core_step(type, of(type, {infinite}), of(type, {1}), -infinite)));
    EXPECT_EQ(tensor_core_step(type, of(type, {0x1p127F}), of(type, {4}), 0), infinite);
    EXPECT_EQ(tensor_core_step(type, of(type, {0x1p127F}), of(type, {-1}), 0), -0x1p127F);
}

TEST(Reference, StaysCloseToTheExactSum) {
    for (const Operand type : {Operand::bf16, Operand::f16}) {
        Bits a, b;
        double exact = 0;
        for (std::uint32_t i = 0; i < 2240; ++i) {
            a.push_back(encode(type, 2 * base::uniform(1, 1, i) - 1));
            b.push_back(encode(type, 2 * base::uniform(1, 2, i) - 1));
            exact += double{testing::decode(type, a.back())} * testing::decode(type, b.back());
        }
        EXPECT_NEAR(tensor_core_chain(type, a, b), exact, 1e-4 * std::sqrt(2240.0));
    }
}

}  // namespace
}  // namespace holdfast::cuda
