// Byte pair encoding of one word: R. Sennrich, B. Haddow, A. Birch, "Neural Machine Translation of
// Rare Words with Subword Units", ACL 2016, over bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/chat/request.h"

namespace holdfast::text {

// A merge of two neighbouring tokens into one. Its rank is its place in the list.
struct Merge {
    chat::TokenId left = 0, right = 0, merged = 0;
};

// Repeats the merge of lowest rank, leftmost first, until none applies. O(n log n) in the word's
// length in bytes, which must be below 2^32. Immutable after construction; any thread may call.
class Bpe {
public:
    // Working memory, kept by the caller from word to word.
    struct Scratch {
        struct Symbol {
            chat::TokenId id = 0;
            std::uint32_t previous = 0, next = 0;  // positions of the neighbours
            std::uint32_t rank = 0;                // of the merge with the next symbol
        };
        std::vector<Symbol> symbols;
        std::vector<std::uint64_t> heap;  // rank and position of merges that may apply
        std::uint64_t considered = 0;     // pairs looked up so far: what the work grows with
    };

    // `bytes` names the token of each single byte. A pair that is listed twice has the later rank.
    Bpe(const std::array<chat::TokenId, 256>& bytes, const std::vector<Merge>& merges);

    // Appends the ids of `word` to `ids`.
    void encode(std::string_view word, Scratch& scratch, std::vector<chat::TokenId>& ids) const;

private:
    struct Slot {
        std::uint64_t pair = empty_slot;
        std::uint32_t rank = 0;
        chat::TokenId merged = 0;
    };
    static constexpr std::uint64_t empty_slot = ~std::uint64_t{0};
    static std::uint64_t pair(chat::TokenId left, chat::TokenId right) {
        return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 |
               static_cast<std::uint32_t>(right);
    }
    const Slot& find(std::uint64_t pair) const;  // an empty slot if the pair does not merge
    std::size_t home(std::uint64_t pair) const;
    bool consider(Scratch& scratch, std::uint32_t position) const;
    void merge(Scratch& scratch, std::uint32_t position) const;

    std::array<chat::TokenId, 256> bytes_;
    std::vector<Slot> slots_;  // open addressing, at most half full
    int shift_ = 0;
};

}  // namespace holdfast::text
