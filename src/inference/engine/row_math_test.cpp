#include "inference/engine/row_math.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "common/base/random.h"
#include "inference/engine/exact_math.h"

namespace holdfast::engine {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> random_row(std::uint32_t size, std::uint32_t seed) {
    std::vector<float> row;
    for (std::uint32_t i = 0; i < size; ++i)
        row.push_back(static_cast<float>(base::philox({i, 0, 0, 0}, {seed, 0})[0]) * 0x1p-27F - 16);
    return row;
}

}  // namespace

TEST(RowMath, FindsTheLargestNumberWhereverItStands) {
    for (std::uint32_t size = 1; size < 300; ++size) {
        std::vector<float> row(size, -3.0F);
        const std::size_t place = size * 7919U % size;
        row[place] = -1.0F;
        const RowScan found = scan(row);
        EXPECT_EQ(found.largest, -1.0F);
        EXPECT_TRUE(found.valid);
        EXPECT_EQ(find_first(row, -1.0F), place);
        EXPECT_EQ(find_first(row, 5.0F), size);
    }
    EXPECT_EQ(scan({}).largest, -infinity);
    const std::vector<float> masked(100, -infinity);
    EXPECT_EQ(scan(masked).largest, -infinity);
    EXPECT_TRUE(scan(masked).valid);
}

TEST(RowMath, FindsNumbersThatAreNoneAtEveryPlace) {
    for (const float broken : {nan, -nan, infinity})
        for (const std::size_t size : {1U, 64U, 131U})
            for (std::size_t place = 0; place < size; ++place) {
                std::vector<float> row(size, 1.0F);
                row[place] = broken;
                EXPECT_FALSE(scan(row).valid) << size << " " << place;
            }
}

TEST(RowMath, CollectsWhatIsNotBelowTheFloorInOrder) {
    for (const std::uint32_t size : {0U, 1U, 63U, 64U, 65U, 1000U}) {
        const std::vector<float> row = random_row(size, 3);
        for (const float floor : {-20.0F, -5.0F, 0.0F, 14.0F, 17.0F, row.empty() ? 0 : row[0]}) {
            std::vector<Candidate> out(size);
            out.resize(collect(row, floor, 100, out.data()));
            std::size_t next = 0;
            for (std::uint32_t i = 0; i < size; ++i) {
                if (row[i] < floor) continue;
                ASSERT_LT(next, out.size());
                EXPECT_EQ(out[next].id, static_cast<chat::TokenId>(100 + i));
                EXPECT_EQ(out[next++].logit, row[i]);
            }
            EXPECT_EQ(next, out.size());
        }
    }
}

TEST(RowMath, ManyExponentialsAreTheBitsOfEach) {
    std::vector<double> numbers = {0.0, -0.0, -1e-300, -32.0, -699.0};
    for (const float number : random_row(1003, 4)) numbers.push_back(-std::abs(number) * 3.7);
    std::vector<double> many = numbers;
    exact_exp_each(many);
    for (std::size_t i = 0; i < many.size(); ++i)
        EXPECT_EQ(std::bit_cast<std::uint64_t>(many[i]),
                  std::bit_cast<std::uint64_t>(exact_exp(numbers[i])))
            << numbers[i];
}

TEST(RowMath, AddsExponentialsInOrder) {
    std::vector<float> row = random_row(1203, 5);
    for (std::size_t i = 0; i < row.size(); i += 3) row[i] -= 30.0F;
    row[7] = -infinity;
    double expected = 0.25;
    for (const float logit : row) {
        const double below = static_cast<double>(logit) - 16.0F;
        if (below > -45.0) expected += exact_exp(below);
    }
    EXPECT_EQ(add_exponentials(0.25, row, 16.0F), expected);
}

}  // namespace holdfast::engine
