#include "inference/backend/cuda/layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

namespace holdfast::cuda {
namespace {

TEST(Layout, EveryElementOfABlockHasAPlaceOfItsOwn) {
    std::set<std::uint32_t> places;
    for (std::uint32_t row = 0; row < tile_rows; ++row)
        for (std::uint32_t k = 0; k < block_k; ++k) places.insert(swizzled(row, k));
    EXPECT_EQ(places.size(), tile_rows * block_k);
    EXPECT_EQ(*places.begin(), 0);
    EXPECT_EQ(*places.rbegin(), block_bytes - 2);
}

TEST(Layout, EightRowsOfAPieceLieInDifferentBanks) {
    for (std::uint32_t k = 0; k < block_k; k += 8) {
        std::set<std::uint32_t> banks;
        for (std::uint32_t row = 8; row < 16; ++row) banks.insert(swizzled(row, k) % 128 / 16);
        EXPECT_EQ(banks.size(), 8);
    }
}

TEST(Layout, EveryWeightHasAPlaceOfItsOwnAndSegmentsAreContiguous) {
    const MatrixShape shape{Role::down, 128, 384};
    std::set<std::size_t> places;
    for (std::uint32_t row = 0; row < shape.rows; ++row)
        for (std::uint32_t k = 0; k < shape.inputs; ++k)
            places.insert(weight_at(shape.blocks(), row, k));
    EXPECT_EQ(places.size(), std::size_t{shape.rows} * shape.inputs);
    EXPECT_EQ(*places.rbegin(), shape.bytes() - 2);
    for (std::uint32_t row = 0; row < tile_rows; ++row)
        EXPECT_EQ(weight_at(shape.blocks(), row, 64) / block_bytes, 1);
}

TEST(Layout, SegmentsCoverAllBlocksOnceInOrder) {
    for (std::uint32_t blocks = 1; blocks < 300; ++blocks) {
        EXPECT_EQ(segment_begin(0, 4, blocks), 0);
        EXPECT_EQ(segment_begin(4, 4, blocks), blocks);
        for (std::uint32_t s = 0; s < 4; ++s) {
            const std::uint32_t size =
                segment_begin(s + 1, 4, blocks) - segment_begin(s, 4, blocks);
            EXPECT_LE(size, blocks / 4 + 1);
            EXPECT_GE(size, blocks / 4);
        }
    }
}

TEST(Layout, PartnersStandEightRowsApart) {
    for (const std::uint32_t half : {16u, 32u, 64u, 8960u}) {
        std::vector<std::uint32_t> rows(std::size_t{4} * half);
        for (std::uint32_t at = 0; at < rows.size(); ++at) rows[at] = paired_row(at, half);
        for (std::uint32_t at = 0; at < rows.size(); at += 16)
            for (std::uint32_t i = at; i < at + 8; ++i) EXPECT_EQ(rows[i + 8], rows[i] + half);
        std::ranges::sort(rows);
        std::vector<std::uint32_t> all(rows.size());
        std::iota(all.begin(), all.end(), 0);
        EXPECT_EQ(rows, all);
    }
}

TEST(Layout, EveryKeyAndValueHasAPlaceOfItsOwn) {
    for (const std::uint32_t head_dim : {32u, 64u, 128u}) {
        const CacheShape shape{2, head_dim};
        std::set<std::size_t> places;
        for (std::uint32_t block = 0; block < 3; ++block)
            for (std::uint32_t slot = 0; slot < 16; ++slot)
                for (std::uint32_t head = 0; head < shape.kv_heads; ++head)
                    for (std::uint32_t d = 0; d < head_dim; ++d)
                        for (const bool value : {false, true})
                            places.insert(cached_at(shape, block, slot, head, value, d));
        EXPECT_EQ(places.size(), 3u * 16 * 2 * head_dim * 2);
        EXPECT_LT(*places.rbegin(), 3 * shape.block_bytes());
    }
}

}  // namespace
}  // namespace holdfast::cuda
