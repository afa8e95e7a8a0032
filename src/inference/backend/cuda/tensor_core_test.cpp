// What the whole backend stands on: an element of a product has the same bits whichever instruction
// computed it, however many columns there were and whatever stood in them, and these bits are those
// that the integer model of reference.h gives.
#include "inference/backend/cuda/tensor_core_test.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "common/base/random.h"
#include "inference/backend/cuda/memory.h"
#include "inference/backend/cuda/profile.h"
#include "inference/backend/cuda/test_device.h"
#include "inference/backend/cuda/test_operands.h"

namespace holdfast::cuda::testing {
namespace {

constexpr std::uint32_t columns_max = 256;
constexpr std::uint32_t column_counts[] = {8, 16, 32, 64, 96, 128, 192, 256};
constexpr Way ways[] = {Way::warpgroup_shared, Way::warpgroup_registers, Way::warp,
                        Way::warp_swapped};

// How the values of a product are distributed.
enum class Values { even, wide, subnormal, cancelling };

float value_of(Values values, Operand type, std::uint32_t stream, std::uint32_t i) {
    const float even = 2 * base::uniform(7, stream, i) - 1;
    const float chance = base::uniform(8, stream, i);
    switch (values) {
        case Values::even:
            return even;
        case Values::wide:
            return std::scalbn(even, static_cast<int>(chance * 24) - 12);
        // Smaller than the least normal number of the type, and products below that of float32.
        case Values::subnormal:
            return even * (type == Operand::f16 ? 0x1p-14F : chance < 0.5F ? 0x1p-126F : 0x1p-60F);
        // Each pair of neighbours cancels but for a little: the largest term is far above the sum.
        case Values::cancelling: {
            const float first = 2 * base::uniform(7, stream, i / 2) - 1;
            const float little = chance < 0.1F ? even * 0x1p-7F : 0.0F;
            return stream == 2 && i % 2 == 1 ? -first * (1 + little) : first;
        }
    }
    return even;
}

class TensorCore : public ::testing::Test {
protected:
    void SetUp() override {
        HF_NEEDS_DEVICE();
        for (DeviceMemory* memory : {&a_device_, &b_device_, &d_device_}) {
            auto reserved = DeviceMemory::reserve(std::size_t{columns_max} * k_max * sizeof(float));
            ASSERT_TRUE(reserved) << reserved.error().what;
            *memory = std::move(*reserved);
        }
    }

    void draw(Values values, Operand type, std::uint32_t k) {
        type_ = type;
        k_ = k;
        a_.resize(std::size_t{tile_rows} * k);
        b_.resize(std::size_t{columns_max} * k);
        for (std::uint32_t i = 0; i < a_.size(); ++i)
            a_[i] = encode(type, value_of(values, type, 1, i));
        for (std::uint32_t i = 0; i < b_.size(); ++i)
            b_[i] = encode(type, value_of(values, type, 2, i));
    }

    // [row][column], after outputs were poisoned.
    std::vector<float> product(Way way, std::uint32_t columns) {
        std::vector<float> d(std::size_t{tile_rows} * columns);
        EXPECT_TRUE(a_device_.write(0, std::as_bytes(std::span(a_))));
        EXPECT_TRUE(b_device_.write(0, std::as_bytes(std::span(b_))));
        EXPECT_TRUE(d_device_.fill(0xcd));
        EXPECT_EQ(multiply(way, type_, columns, static_cast<std::uint16_t*>(a_device_.data()),
                           static_cast<std::uint16_t*>(b_device_.data()), k_,
                           static_cast<float*>(d_device_.data())),
                  0);
        EXPECT_TRUE(d_device_.read(0, std::as_writable_bytes(std::span(d))));
        return d;
    }

    // [row][column of columns_max]
    std::vector<float> expected() const {
        std::vector<float> all;
        for (std::uint32_t row = 0; row < tile_rows; ++row)
            for (std::uint32_t column = 0; column < columns_max; ++column)
                all.push_back(
                    tensor_core_chain(type_, std::span(a_).subspan(std::size_t{row} * k_, k_),
                                      std::span(b_).subspan(std::size_t{column} * k_, k_)));
        return all;
    }

    // Compares every way and number of columns with `expected`. NaN is one value.
    void expect_everywhere(const std::vector<float>& expected) {
        for (const Way way : ways)
            for (const std::uint32_t columns : column_counts) {
                const std::vector<float> d = product(way, columns);
                std::size_t different = 0, first = d.size();
                for (std::size_t i = 0; i < d.size(); ++i) {
                    const float want = expected[i / columns * columns_max + i % columns];
                    if (std::bit_cast<std::uint32_t>(d[i]) == std::bit_cast<std::uint32_t>(want) ||
                        (std::isnan(d[i]) && std::isnan(want)))
                        continue;
                    if (different++ == 0) first = i;
                }
                EXPECT_EQ(different, 0)
                    << "way " << static_cast<int>(way) << ", " << columns << " columns: row "
                    << first / columns << " column " << first % columns << " is " << d[first]
                    << ", expected " << expected[first / columns * columns_max + first % columns];
            }
    }

    static constexpr std::uint32_t k_max = 1536;
    Operand type_ = Operand::bf16;
    std::uint32_t k_ = 0;
    std::vector<std::uint16_t> a_, b_;
    DeviceMemory a_device_, b_device_, d_device_;
};

TEST_F(TensorCore, EveryWayGivesTheBitsOfTheReference) {
    for (const Operand type : {Operand::bf16, Operand::f16})
        for (const Values values : {Values::even, Values::wide, Values::cancelling}) {
            SCOPED_TRACE(static_cast<int>(type) * 10 + static_cast<int>(values));
            draw(values, type, 384);
            expect_everywhere(expected());
        }
}

TEST_F(TensorCore, SubnormalNumbersCountInFull) {
    for (const Operand type : {Operand::bf16, Operand::f16}) {
        SCOPED_TRACE(static_cast<int>(type));
        draw(Values::subnormal, type, 64);
        expect_everywhere(expected());
    }
}

TEST_F(TensorCore, AllWaysAgreeOnLongChains) {
    for (const Operand type : {Operand::bf16, Operand::f16}) {
        draw(Values::wide, type, k_max);
        expect_everywhere(product(Way::warp, columns_max));
    }
}

TEST_F(TensorCore, AColumnWithoutANumberLeavesItsNeighboursAlone) {
    for (const Operand type : {Operand::bf16, Operand::f16}) {
        draw(Values::even, type, 64);
        std::vector<float> want = expected();
        const float specials[] = {std::numeric_limits<float>::quiet_NaN(),
                                  std::numeric_limits<float>::infinity()};
        for (std::uint32_t column = 3; column < columns_max; column += 7)
            b_[column * k_ + 5] = encode(type, specials[column % 2]);
        const std::vector<float> now = expected();
        for (std::size_t i = 0; i < want.size(); ++i)
            if (i % columns_max % 7 != 3)
                ASSERT_EQ(std::bit_cast<std::uint32_t>(want[i]),
                          std::bit_cast<std::uint32_t>(now[i]));
        expect_everywhere(now);
    }
}

TEST_F(TensorCore, ZerosChangeNothing) {
    draw(Values::wide, Operand::bf16, 256);
    const std::vector<float> want = product(Way::warp, columns_max);
    std::vector<std::uint16_t> a, b;
    // Between the old columns of K stand 64 of zeros, of either sign, on one side or on both.
    const auto spread = [&](const std::vector<std::uint16_t>& from, std::uint16_t filling) {
        std::vector<std::uint16_t> to;
        for (std::size_t i = 0; i < from.size(); i += 64) {
            to.insert(to.end(), from.begin() + static_cast<std::ptrdiff_t>(i),
                      from.begin() + static_cast<std::ptrdiff_t>(i) + 64);
            to.insert(to.end(), 64, filling);
        }
        return to;
    };
    const std::vector<std::uint16_t> a_before = a_, b_before = b_;
    for (const std::uint16_t filling : {0x0000, 0x8000, 0x3f80}) {
        a_ = spread(a_before, filling);
        b_ = spread(b_before, filling == 0x3f80 ? 0x8000 : 0x0000);
        k_ = 512;
        expect_everywhere(want);
    }
}

}  // namespace
}  // namespace holdfast::cuda::testing
