#include "inference/engine/row_math.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
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

TEST(RowMath, AWeightIsTheExponentialToTheNearestInteger) {
    std::vector<double> exponents = {0.0,   -0.0,  -1e-300, -1e-14, -31.1,    -31.2,
                                     -32.0, -33.0, -699.0,  -1e300, -infinity};
    for (const float number : random_row(1003, 4)) exponents.push_back(-std::abs(number) * 2.1);
    std::vector<double> scratch = exponents;
    std::vector<std::uint64_t> weights(exponents.size());
    weigh(scratch, weights);
    for (std::size_t i = 0; i < weights.size(); ++i) {
        const double exact = exact_exp(std::max(exponents[i], -700.0)) * weight_one;
        EXPECT_EQ(weights[i], static_cast<std::uint64_t>(std::nearbyint(exact))) << exponents[i];
    }
    EXPECT_EQ(weights[0], weight_one);
    EXPECT_EQ(weights[4], 1U) << "0.55 of a unit";
    EXPECT_EQ(weights[5], 0U) << "0.495 of a unit";
}

TEST(RowMath, TheSumOfWeightsHasNoOrder) {
    std::vector<float> row = random_row(1203, 5);
    for (std::size_t i = 0; i < row.size(); i += 3) row[i] -= 30.0F;
    row[7] = -infinity;
    const std::uint64_t sum = sum_of_weights(row, 16.0F);
    std::uint64_t expected = 0;
    for (const float logit : row) expected += sum_of_weights({&logit, 1}, 16.0F);
    EXPECT_EQ(sum, expected);
    std::ranges::sort(row);
    EXPECT_EQ(sum_of_weights(row, 16.0F), sum);
    EXPECT_EQ(sum_of_weights({}, 16.0F), 0U);
}

}  // namespace holdfast::engine
