#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>
#include <vector>

#include "inference/backend/cpu/kernels.h"
#include "inference/backend/cpu/kv_cache.h"
#include "inference/backend/cpu/test_values.h"

namespace holdfast::cpu {
namespace {

using tensor::KvType;

// What a head becomes in the cache, written down again.
Values kept(KvType type, const Values& token, std::uint32_t head_dim) {
    Values values = token;
    for (std::size_t first = 0; first < values.size(); first += head_dim) {
        float largest = 0;
        for (std::size_t i = first; i < first + head_dim; ++i)
            largest = std::max(largest, std::abs(values[i]));
        for (std::size_t i = first; i < first + head_dim; ++i) {
            if (type == KvType::q8 && largest > 0)
                values[i] = largest / 127 * std::nearbyint(values[i] * (127 / largest));
            if (type != KvType::bf16) continue;
            // Between the two neighbours, the nearer; of equally near ones, the even.
            const std::uint32_t bits = std::bit_cast<std::uint32_t>(values[i]);
            const auto below = std::bit_cast<float>(bits & 0xffff'0000U);
            const auto above = std::bit_cast<float>((bits & 0xffff'0000U) + 0x1'0000U);
            const float down = std::abs(values[i] - below), up = std::abs(above - values[i]);
            const bool even = (bits >> 16 & 1U) == 0;
            values[i] = down < up || (down == up && even) ? below : above;
        }
    }
    return values;
}

struct Case {
    std::uint32_t heads, kv_heads, head_dim, position, rows;
};

// Keys and values of a sequence in shuffled blocks of the second of two layers, everything else
// poisoned.
class Fixture {
public:
    Fixture(const Case& c, KvType type)
        : c_(c), type_(type), tokens_(c.position + c.rows), columns_(c.kv_heads * c.head_dim) {
        const std::uint32_t count = tokens_ / key_block_tokens + 1;
        for (std::uint32_t i = 0; i < count; ++i) blocks_.push_back(count - 1 - i);
        const KvShape shape{type, 2, count, c.kv_heads, c.head_dim};
        auto cache = KvCache::reserve(shape);
        EXPECT_TRUE(cache);
        cache_ = *std::move(cache);
        const KvLayer first = cache_.layer(0);
        std::memset(const_cast<std::byte*>(first.keys), 0xff, KvCache::needed_bytes(shape));
        for (std::uint32_t t = 0; t < tokens_; ++t)
            cache_.keep(1, blocks_[t / key_block_tokens], t % key_block_tokens, key(t).data(),
                        value(t).data());
    }

    // Rows [first, first + count) in tiles of at most `tile` queries.
    Values run(Isa isa, std::uint32_t first, std::uint32_t count, std::uint32_t tile) const {
        const std::size_t stride = std::size_t{c_.heads} * c_.head_dim;
        const Values queries = noise(c_.rows * stride, 7, 2);
        Values out(count * stride);
        const AttentionJob job{.kept = cache_.layer(1),
                               .blocks = blocks_.data(),
                               .position = c_.position + first,
                               .heads = c_.heads,
                               .kv_heads = c_.kv_heads,
                               .head_dim = c_.head_dim,
                               .scale = 1 / std::sqrt(static_cast<float>(c_.head_dim)),
                               .queries = queries.data() + first * stride,
                               .query_stride = stride,
                               .out = out.data(),
                               .out_stride = stride};
        const std::uint32_t all = count * (c_.heads / c_.kv_heads);
        for (std::uint32_t head = 0; head < c_.kv_heads; ++head)
            for (std::uint32_t i = 0; i < all; i += tile)
                kernels(isa).attention(job, head, i, std::min(all, i + tile));
        return out;
    }

    std::vector<double> expected() const {
        const std::size_t stride = std::size_t{c_.heads} * c_.head_dim;
        const Values queries = noise(c_.rows * stride, 7, 2);
        std::vector<double> out(c_.rows * stride);
        for (std::uint32_t row = 0; row < c_.rows; ++row)
            for (std::uint32_t head = 0; head < c_.heads; ++head) add_head(queries, row, head, out);
        return out;
    }

private:
    Values key(std::uint32_t token) const { return noise(columns_, 1'000 + token, 2); }
    Values value(std::uint32_t token) const { return noise(columns_, 100'000 + token); }

    void add_head(const Values& queries, std::uint32_t row, std::uint32_t head,
                  std::vector<double>& out) const {
        const std::size_t at = (std::size_t{row} * c_.heads + head) * c_.head_dim;
        const std::size_t kv = std::size_t{head / (c_.heads / c_.kv_heads)} * c_.head_dim;
        std::vector<double> weights;
        double sum = 0;
        for (std::uint32_t t = 0; t <= c_.position + row; ++t) {
            const Values k = kept(type_, key(t), c_.head_dim);
            double score = 0;
            for (std::size_t d = 0; d < c_.head_dim; ++d)
                score += static_cast<double>(queries[at + d]) * k[kv + d];
            weights.push_back(std::exp(score / std::sqrt(static_cast<double>(c_.head_dim))));
            sum += weights.back();
        }
        for (std::uint32_t t = 0; t < weights.size(); ++t) {
            const Values v = kept(type_, value(t), c_.head_dim);
            for (std::size_t d = 0; d < c_.head_dim; ++d)
                out[at + d] += weights[t] / sum * v[kv + d];
        }
    }

    Case c_;
    KvType type_;
    std::uint32_t tokens_, columns_;
    std::vector<std::uint32_t> blocks_;
    KvCache cache_;
};

constexpr Case cases[] = {
    {6, 2, 32, 0, 1},   {6, 2, 32, 0, 40},   {4, 4, 64, 100, 30}, {12, 2, 128, 250, 9},
    {14, 1, 32, 15, 3}, {2, 1, 256, 127, 2}, {6, 2, 32, 120, 20}, {1, 1, 32, 383, 2},
};

class Attention : public ::testing::TestWithParam<KvType> {};

TEST_P(Attention, AgreesWithTheFormulaAndNeverReadsWhatARowMustNotSee) {
    for (const Case& c : cases) {
        const Fixture fixture(c, GetParam());
        const auto expected = fixture.expected();
        for (const Isa isa : isas()) {
            const Values out = fixture.run(isa, 0, c.rows, kernels(isa).tile_rows_max);
            for (std::size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], expected[i], 2e-6);
        }
    }
}

TEST_P(Attention, GivesTheSameBitsOnEveryInstructionSet) {
    for (const Case& c : cases) {
        const Fixture fixture(c, GetParam());
        const Values first = fixture.run(Isa::scalar, 0, c.rows, 1);
        for (const Isa isa : isas())
            ASSERT_TRUE(same_bits(first, fixture.run(isa, 0, c.rows, kernels(isa).tile_rows_max)))
                << name(isa);
    }
}

TEST_P(Attention, GivesARowTheSameBitsHoweverRowsAreTiledAndSliced) {
    for (const Case& c : cases) {
        const Fixture fixture(c, GetParam());
        for (const Isa isa : isas()) {
            const Values whole = fixture.run(isa, 0, c.rows, kernels(isa).tile_rows_max);
            for (std::uint32_t tile = 1; tile < kernels(isa).tile_rows_max; ++tile)
                ASSERT_TRUE(same_bits(whole, fixture.run(isa, 0, c.rows, tile))) << tile;
            Values single;
            for (std::uint32_t row = 0; row < c.rows; ++row) {
                const Values one = fixture.run(isa, row, 1, kernels(isa).tile_rows_max);
                single.insert(single.end(), one.begin(), one.end());
            }
            ASSERT_TRUE(same_bits(whole, single)) << name(isa);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(KvType, Attention, ::testing::ValuesIn(tensor::all_kv_types),
                         [](const auto& info) { return std::string(name(info.param)); });

// One key head of 32 dimensions, kept in place 3 of a block; every element is given back.
Values round_trip(KvType type, const Values& head) {
    auto cache = KvCache::reserve({type, 1, 1, 1, 32});
    EXPECT_TRUE(cache);
    cache->keep(0, 0, 3, head.data(), head.data());
    const KvLayer layer = cache->layer(0);
    Values values;
    const std::byte* const numbers = layer.keys + (type == KvType::q8 ? kv_scale_bytes : 0);
    for (std::size_t d = 0; d < 32; ++d) {
        const std::size_t at = d * key_block_tokens + 3;
        if (type == KvType::f32) values.push_back(reinterpret_cast<const float*>(numbers)[at]);
        if (type == KvType::bf16)
            values.push_back(std::bit_cast<float>(
                std::uint32_t{reinterpret_cast<const std::uint16_t*>(numbers)[at]} << 16));
        if (type == KvType::q8)
            values.push_back(reinterpret_cast<const float*>(layer.keys)[3] *
                             static_cast<float>(reinterpret_cast<const std::int8_t*>(numbers)[at]));
    }
    return values;
}

TEST(KvCache, KeepsWhatEachTypeCanHold) {
    Values head = noise(32, 5, 3);
    head[0] = 1.00390625F;  // half-way between two bf16 numbers: the even one is below
    head[1] = 1.01171875F;  // and here above
    for (const KvType type : tensor::all_kv_types)
        EXPECT_EQ(round_trip(type, head), kept(type, head, 32)) << name(type);
    EXPECT_EQ(round_trip(KvType::bf16, head)[0], 1.0F);
    EXPECT_EQ(round_trip(KvType::bf16, head)[1], 1.015625F);
}

TEST(KvCache, KeepsEmptyAndTinyHeadsAndDoesNotHideBrokenOnes) {
    EXPECT_EQ(round_trip(KvType::q8, Values(32, 0.0F)), Values(32, 0.0F));
    EXPECT_EQ(round_trip(KvType::q8, Values(32, 1e-40F)), Values(32, 0.0F));
    for (const float bad :
         {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
        Values head(32, 1.0F);
        head[7] = bad;
        for (const KvType type : tensor::all_kv_types)
            EXPECT_FALSE(std::isfinite(round_trip(type, head)[7])) << name(type);
    }
}

TEST(KvCache, TakesAQuarterOfTheMemoryWithEightBits) {
    const KvShape f32{KvType::f32, 28, 100, 2, 128}, bf16{KvType::bf16, 28, 100, 2, 128},
        q8{KvType::q8, 28, 100, 2, 128};
    EXPECT_EQ(KvCache::needed_bytes(f32), std::size_t{2} * 28 * 1'600 * 256 * 4);
    EXPECT_EQ(KvCache::needed_bytes(bf16) * 2, KvCache::needed_bytes(f32));
    EXPECT_EQ(KvCache::needed_bytes(q8), std::size_t{2} * 28 * 1'600 * (256 + 2 * 4));
}

}  // namespace
}  // namespace holdfast::cpu
