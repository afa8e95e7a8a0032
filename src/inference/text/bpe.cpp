#include "inference/text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

namespace holdfast::text {
namespace {

constexpr std::uint32_t none = ~std::uint32_t{0};

}  // namespace

Bpe::Bpe(const std::array<chat::TokenId, 256>& bytes, const std::vector<Merge>& merges)
    : bytes_(bytes) {
    const std::size_t size = std::bit_ceil(std::max<std::size_t>(2 * merges.size(), 2));
    shift_ = 64 - std::countr_zero(size);
    slots_.resize(size);
    for (std::uint32_t rank = 0; rank < merges.size(); ++rank) {
        const Merge& merge = merges[rank];
        const std::uint64_t key = pair(merge.left, merge.right);
        slots_[static_cast<std::size_t>(&find(key) - slots_.data())] = {key, rank, merge.merged};
    }
}

// Fibonacci hashing: the high bits of a product with 2^64 over the golden ratio.
std::size_t Bpe::home(std::uint64_t pair) const {
    pair ^= pair >> 32;
    return pair * 0x9E3779B97F4A7C15 >> shift_;
}

const Bpe::Slot& Bpe::find(std::uint64_t pair) const {
    std::size_t at = home(pair);
    while (slots_[at].pair != pair && slots_[at].pair != empty_slot)
        at = (at + 1) & (slots_.size() - 1);
    return slots_[at];
}

void Bpe::encode(std::string_view word, Scratch& scratch, std::vector<chat::TokenId>& ids) const {
    const auto length = static_cast<std::uint32_t>(word.size());
    scratch.symbols.resize(length);
    scratch.heap.clear();
    for (std::uint32_t i = 0; i < length; ++i)
        scratch.symbols[i] = {bytes_[static_cast<std::uint8_t>(word[i])], i == 0 ? none : i - 1,
                              i + 1 == length ? none : i + 1, none};
    for (std::uint32_t i = 0; i + 1 < length; ++i) consider(scratch, i);
    std::ranges::make_heap(scratch.heap, std::greater{});

    while (!scratch.heap.empty()) {
        std::ranges::pop_heap(scratch.heap, std::greater{});
        const std::uint64_t top = scratch.heap.back();
        scratch.heap.pop_back();
        const auto position = static_cast<std::uint32_t>(top);
        // The pair may have gone since it was noted. A rank belongs to one pair alone.
        if (scratch.symbols[position].rank == top >> 32) merge(scratch, position);
    }
    for (std::uint32_t i = length == 0 ? none : 0; i != none; i = scratch.symbols[i].next)
        ids.push_back(scratch.symbols[i].id);
}

// Notes the merge of the symbol at `position` with the next one at the heap's end, and says whether
// there is one.
bool Bpe::consider(Scratch& scratch, std::uint32_t position) const {
    Scratch::Symbol& symbol = scratch.symbols[position];
    symbol.rank = none;
    if (symbol.next == none) return false;
    ++scratch.considered;
    const Slot& slot = find(pair(symbol.id, scratch.symbols[symbol.next].id));
    if (slot.pair == empty_slot) return false;
    symbol.rank = slot.rank;
    scratch.heap.push_back(std::uint64_t{slot.rank} << 32 | position);
    return true;
}

void Bpe::merge(Scratch& scratch, std::uint32_t position) const {
    Scratch::Symbol& left = scratch.symbols[position];
    Scratch::Symbol& right = scratch.symbols[left.next];
    left.id = find(pair(left.id, right.id)).merged;
    left.next = right.next;
    right.rank = none;  // what was noted for it no longer applies
    if (left.next != none) scratch.symbols[left.next].previous = position;
    if (consider(scratch, position)) std::ranges::push_heap(scratch.heap, std::greater{});
    if (left.previous != none && consider(scratch, left.previous))
        std::ranges::push_heap(scratch.heap, std::greater{});
}

}  // namespace holdfast::text
