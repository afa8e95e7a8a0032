// The KV cache's blocks: who uses them, and which hold a prefix that somebody may ask for again.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/base/hash.h"
#include "common/chat/request.h"
#include "inference/model/model.h"

namespace holdfast::engine {

using model::block_tokens;
using model::BlockId;
using BlockContent = std::span<const chat::TokenId, block_tokens>;

// Names a full block by its tokens and everything before them.
struct BlockKey {
    base::Hash128 parent;  // {} for a sequence's first block
    base::Hash128 hash;    // of the tokens, chained to parent
};

// Keys of all full blocks of `ids`, first to last.
std::vector<BlockKey> block_keys(std::span<const chat::TokenId> ids);

constexpr std::uint32_t blocks_for(std::size_t tokens) {
    return static_cast<std::uint32_t>((tokens + block_tokens - 1) / block_tokens);
}

// A fixed set of blocks with reference counts. Engine thread only; every operation is O(1) and
// none allocates after construction. An unreferenced block keeps its content, findable by key if
// it was published, until allocate() takes it; those released longest ago go first, and those
// that nobody can find before all others.
class BlockPool {
public:
    BlockPool(std::uint32_t blocks, bool prefix_cache);

    bool prefix_cache() const { return prefix_cache_; }
    std::uint32_t total() const { return static_cast<std::uint32_t>(blocks_.size() - 1); }
    std::uint32_t free() const { return free_; }  // unreferenced ones, cached or not
    std::uint32_t used() const { return total() - free_; }

    // A block with one reference; its content is whatever it was. Asserts that free() > 0.
    BlockId allocate();
    // Drops one reference.
    void release(BlockId block);
    // Makes the content of a block that somebody holds findable. If equal content is findable
    // already, nothing changes.
    void publish(BlockId block, const BlockKey& key, BlockContent content);
    // One more reference to the block with this content, if there is one. The tokens themselves
    // are compared, so that equal hashes cannot mix two conversations.
    std::optional<BlockId> acquire(const BlockKey& key, BlockContent content);

private:
    struct Block {
        std::uint32_t references = 0;
        BlockId previous = 0, next = 0;  // in the free list, while there are no references
        bool published = false;
        BlockKey key;
        std::array<chat::TokenId, block_tokens> content{};
    };
    void link_before(BlockId position, BlockId block);
    void unlink(BlockId block);

    bool prefix_cache_;
    std::uint32_t free_;
    std::vector<Block> blocks_;  // one more than total(): the last is the free list's ends
    std::unordered_map<base::Hash128, BlockId> published_;
};

}  // namespace holdfast::engine
