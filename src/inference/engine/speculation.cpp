#include "inference/engine/speculation.h"

#include <algorithm>

#include "common/base/assert.h"

namespace holdfast::engine {

bool NgramIndex::propose(std::span<const chat::TokenId> ids, std::span<chat::TokenId> proposal) {
    HF_ASSERT(ids.size() >= indexed_);
    catch_up(ids);
    for (std::uint32_t n = longest; n >= shortest; --n) {
        if (ids.size() <= n) continue;
        const std::span<const chat::TokenId> last = ids.last(n);
        const std::uint32_t end = slot(last);
        if (end < n || !std::ranges::equal(ids.subspan(end - n, n), last)) continue;
        const std::size_t known = ids.size() - end;
        for (std::size_t i = 0; i < proposal.size(); ++i)
            proposal[i] = i < known ? ids[end + i] : proposal[i - known];
        return true;
    }
    return false;
}

// The first multiplier is the golden ratio's, the second one of splitmix64's.
std::uint32_t& NgramIndex::slot(std::span<const chat::TokenId> ngram) {
    std::uint64_t hash = ngram.size();
    for (const chat::TokenId id : ngram)
        hash = (hash ^ static_cast<std::uint32_t>(id)) * 0x9e3779b97f4a7c15;
    hash = (hash ^ (hash >> 32)) * 0xbf58476d1ce4e5b9;
    return ends_[(hash >> 32) & (ends_.size() - 1)];
}

// An n-gram is known once an id has followed it.
void NgramIndex::catch_up(std::span<const chat::TokenId> ids) {
    std::size_t wanted = std::max<std::size_t>(ends_.size(), 256);
    while (wanted < slots_max && wanted < 4 * ids.size()) wanted *= 2;
    if (wanted > ends_.size()) {
        ends_.assign(wanted, 0);
        indexed_ = 0;
    }
    while (indexed_ + 1 < ids.size()) {
        ++indexed_;
        for (std::uint32_t n = shortest; n <= std::min(longest, indexed_); ++n)
            slot(ids.subspan(indexed_ - n, n)) = indexed_;
    }
}

std::uint32_t Speculation::propose(std::vector<chat::TokenId>& ids, std::uint32_t most) {
    if (resting_ > 0) {
        --resting_;
        return 0;
    }
    const std::uint32_t count = std::min(most, length_);
    const std::size_t known = ids.size();
    ids.resize(known + count);
    const std::span<chat::TokenId> all = ids;
    if (index_.propose(all.first(known), all.subspan(known))) return count;
    ids.resize(known);
    return 0;
}

void Speculation::learn(std::uint32_t proposed, std::uint32_t accepted, std::uint32_t sequences) {
    const auto earned = static_cast<int>(accepted) * accepted_earns;
    const auto lost = static_cast<int>((proposed - accepted) * sequences);
    budget_ = std::min(budget_ + earned - lost, budget_max);
    length_ = accepted == proposed ? proposed * 2 : accepted + 1;
    if (budget_ == budget_max) next_rest_ = rest_min;
    if (budget_ > 0) return;
    resting_ = next_rest_;
    next_rest_ = std::min(next_rest_ * 2, rest_max);
    budget_ = 2;
    length_ = 1;
}

}  // namespace holdfast::engine
