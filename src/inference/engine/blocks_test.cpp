#include "inference/engine/blocks.h"

#include <gtest/gtest.h>

#include <numeric>
#include <ranges>
#include <set>

namespace holdfast::engine {
namespace {

std::vector<chat::TokenId> ids_from(chat::TokenId first, std::size_t count) {
    std::vector<chat::TokenId> ids(count);
    std::iota(ids.begin(), ids.end(), first);
    return ids;
}

BlockContent content(const std::vector<chat::TokenId>& ids, std::size_t block) {
    return BlockContent(ids.data() + block * block_tokens, block_tokens);
}

// As a sequence does it: the last block first.
std::size_t release_all(BlockPool& pool, const std::vector<BlockId>& blocks) {
    for (const BlockId block : std::views::reverse(blocks)) pool.release(block);
    return blocks.size();
}

// Allocates, publishes and releases one block for each full block of `ids`.
void remember(BlockPool& pool, const std::vector<chat::TokenId>& ids) {
    const auto keys = block_keys(ids);
    std::vector<BlockId> blocks;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        blocks.push_back(pool.allocate());
        pool.publish(blocks.back(), keys[i], content(ids, i));
    }
    release_all(pool, blocks);
}

std::size_t found_blocks(BlockPool& pool, const std::vector<chat::TokenId>& ids) {
    const auto keys = block_keys(ids);
    std::vector<BlockId> blocks;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        const auto block = pool.acquire(keys[i], content(ids, i));
        if (!block) break;
        blocks.push_back(*block);
    }
    return release_all(pool, blocks);
}

}  // namespace

TEST(BlockKeys, CoverFullBlocksAndDependOnEverythingBefore) {
    EXPECT_TRUE(block_keys(ids_from(0, 15)).empty());
    auto ids = ids_from(0, 50);
    const auto keys = block_keys(ids);
    ASSERT_EQ(keys.size(), 3U);
    EXPECT_EQ(keys[1].parent, keys[0].hash);
    ids[0] = 99;
    const auto others = block_keys(ids);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_NE(others[i].hash, keys[i].hash);
    EXPECT_EQ(blocks_for(0), 0U);
    EXPECT_EQ(blocks_for(16), 1U);
    EXPECT_EQ(blocks_for(17), 2U);
}

TEST(BlockPool, LendsEveryBlockOnce) {
    BlockPool pool(5, true);
    std::set<BlockId> lent;
    for (int i = 0; i < 5; ++i) lent.insert(pool.allocate());
    EXPECT_EQ(lent.size(), 5U);
    EXPECT_EQ(*lent.rbegin(), 4U);
    EXPECT_EQ(pool.free(), 0U);
    for (const BlockId block : lent) pool.release(block);
    EXPECT_EQ(pool.free(), 5U);
    EXPECT_EQ(pool.used(), 0U);
}

TEST(BlockPool, FindsReleasedContentUntilTheBlockIsNeeded) {
    BlockPool pool(4, true);
    const auto ids = ids_from(100, 32);
    remember(pool, ids);
    EXPECT_EQ(found_blocks(pool, ids), 2U);
    EXPECT_EQ(pool.free(), 4U);
    const BlockId a = pool.allocate(), b = pool.allocate();  // the two that nobody can find
    EXPECT_EQ(found_blocks(pool, ids), 2U);
    const BlockId c = pool.allocate();
    EXPECT_EQ(found_blocks(pool, ids), 1U) << "the end of a prefix goes before its beginning";
    for (const BlockId block : {a, b, c}) pool.release(block);
}

TEST(BlockPool, TakesWhatNobodyCanFindFirst) {
    BlockPool pool(2, true);
    const auto ids = ids_from(0, 16);
    remember(pool, ids);
    pool.release(pool.allocate());  // released later than the published one
    const BlockId block = pool.allocate();
    EXPECT_EQ(found_blocks(pool, ids), 1U);
    pool.release(block);
}

TEST(BlockPool, ForgetsTheLeastRecentlyUsedPrefixFirst) {
    BlockPool pool(2, true);
    const auto first = ids_from(0, 16), second = ids_from(50, 16), third = ids_from(90, 16);
    remember(pool, first);
    remember(pool, second);
    EXPECT_EQ(found_blocks(pool, first), 1U);  // used again
    remember(pool, third);
    EXPECT_EQ(found_blocks(pool, first), 1U);
    EXPECT_EQ(found_blocks(pool, second), 0U);
    EXPECT_EQ(found_blocks(pool, third), 1U);
}

TEST(BlockPool, SharesABlockAndFreesItWithItsLastReference) {
    BlockPool pool(1, true);
    const auto ids = ids_from(0, 16);
    const auto keys = block_keys(ids);
    const BlockId block = pool.allocate();
    pool.publish(block, keys[0], content(ids, 0));
    EXPECT_EQ(pool.acquire(keys[0], content(ids, 0)), block);
    pool.release(block);
    EXPECT_EQ(pool.free(), 0U);
    pool.release(block);
    EXPECT_EQ(pool.free(), 1U);
}

TEST(BlockPool, DoesNotMixContentWhoseHashesAreEqual) {
    BlockPool pool(2, true);
    const auto ids = ids_from(0, 16), others = ids_from(1, 16);
    const auto keys = block_keys(ids);
    const BlockId block = pool.allocate();
    pool.publish(block, keys[0], content(ids, 0));
    EXPECT_FALSE(pool.acquire(keys[0], content(others, 0)));
    EXPECT_FALSE(pool.acquire({{1, 1}, keys[0].hash}, content(ids, 0)));
    // A second block with content that is known already stays private.
    const BlockId twin = pool.allocate();
    pool.publish(twin, keys[0], content(ids, 0));
    pool.release(twin);
    EXPECT_EQ(pool.acquire(keys[0], content(ids, 0)), block);
}

TEST(BlockPool, RemembersNothingWithoutThePrefixCache) {
    BlockPool pool(3, false);
    const auto ids = ids_from(0, 16);
    remember(pool, ids);
    EXPECT_EQ(found_blocks(pool, ids), 0U);
}

}  // namespace holdfast::engine
