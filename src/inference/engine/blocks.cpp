#include "inference/engine/blocks.h"

#include <algorithm>

#include "common/base/assert.h"

namespace holdfast::engine {

std::vector<BlockKey> block_keys(std::span<const chat::TokenId> ids) {
    std::vector<BlockKey> keys;
    keys.reserve(ids.size() / block_tokens);
    base::Hash128 parent;
    for (std::size_t begin = 0; begin + block_tokens <= ids.size(); begin += block_tokens) {
        const base::Hash128 hash =
            base::hash128(std::as_bytes(ids.subspan(begin, block_tokens)), parent);
        keys.push_back({parent, hash});
        parent = hash;
    }
    return keys;
}

BlockPool::BlockPool(std::uint32_t blocks, bool prefix_cache)
    : prefix_cache_(prefix_cache), free_(blocks), blocks_(blocks + 1) {
    const BlockId ends = blocks;
    blocks_[ends].previous = blocks_[ends].next = ends;
    for (BlockId block = 0; block < blocks; ++block) link_before(ends, block);
    if (prefix_cache_) published_.reserve(blocks);
}

BlockId BlockPool::allocate() {
    HF_ASSERT(free_ > 0);
    const BlockId block = blocks_[total()].next;
    unlink(block);
    Block& taken = blocks_[block];
    if (taken.published) {
        published_.erase(taken.key.hash);
        taken.published = false;
    }
    taken.references = 1;
    --free_;
    return block;
}

void BlockPool::release(BlockId block) {
    Block& released = blocks_[block];
    HF_ASSERT(released.references > 0);
    if (--released.references > 0) return;
    ++free_;
    const BlockId ends = total();
    link_before(released.published ? ends : blocks_[ends].next, block);
}

void BlockPool::publish(BlockId block, const BlockKey& key, BlockContent content) {
    Block& full = blocks_[block];
    HF_ASSERT(full.references > 0);
    if (!prefix_cache_ || full.published || !published_.try_emplace(key.hash, block).second) return;
    full.published = true;
    full.key = key;
    std::ranges::copy(content, full.content.begin());
}

std::optional<BlockId> BlockPool::acquire(const BlockKey& key, BlockContent content) {
    const auto found = published_.find(key.hash);
    if (found == published_.end()) return std::nullopt;
    Block& block = blocks_[found->second];
    if (block.key.parent != key.parent || !std::ranges::equal(block.content, content))
        return std::nullopt;
    if (block.references++ == 0) {
        unlink(found->second);
        --free_;
    }
    return found->second;
}

void BlockPool::link_before(BlockId position, BlockId block) {
    const BlockId previous = blocks_[position].previous;
    blocks_[block].previous = previous;
    blocks_[block].next = position;
    blocks_[previous].next = block;
    blocks_[position].previous = block;
}

void BlockPool::unlink(BlockId block) {
    blocks_[blocks_[block].previous].next = blocks_[block].next;
    blocks_[blocks_[block].next].previous = blocks_[block].previous;
}

}  // namespace holdfast::engine
