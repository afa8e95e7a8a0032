#include "inference/engine/scheduler.h"

#include <algorithm>
#include <ranges>

#include "common/base/assert.h"

namespace holdfast::engine {
namespace {

void insert_in_order(std::vector<Sequence*>& list, Sequence& sequence) {
    list.insert(std::ranges::upper_bound(list, &sequence, comes_before), &sequence);
}

BlockContent block_content(const Sequence& sequence, std::size_t block) {
    return BlockContent(sequence.ids.data() + block * block_tokens, block_tokens);
}

}  // namespace

Scheduler::Scheduler(BlockPool& pool, SchedulerLimits limits) : pool_(pool), limits_(limits) {
    HF_ASSERT(limits.running_max >= 1 && limits.prefill_tokens_max >= 1);
    HF_ASSERT(limits.batch_tokens_max >= limits.running_max);
}

void Scheduler::add(Sequence& sequence) {
    HF_ASSERT(sequence.phase == Phase::waiting);
    insert_in_order(waiting_, sequence);
}

void Scheduler::remove(Sequence& sequence) {
    if (sequence.phase == Phase::waiting) std::erase(waiting_, &sequence);
    if (sequence.phase == Phase::running) std::erase(running_, &sequence);
    return_blocks(sequence);
    sequence.phase = Phase::finished;
}

std::span<const Row> Scheduler::plan() {
    rows_.clear();
    choose_active();
    plan_decode();
    prefill_left_ = std::min(limits_.prefill_tokens_max,
                             limits_.batch_tokens_max - static_cast<std::uint32_t>(rows_.size()));
    plan_prefill();
    plan_admissions();
    plan_proposals();
    return rows_;
}

void Scheduler::launched(const Row& row) {
    Sequence& sequence = *row.sequence;
    sequence.computed += row.tokens;
    sequence.pending += row.samples ? 1 : 0;
    const std::size_t full =
        std::min<std::size_t>(sequence.computed / block_tokens, sequence.cache_keys.size());
    for (std::uint32_t& block = sequence.published; block < full; ++block)
        pool_.publish(sequence.blocks[block], sequence.cache_keys[block],
                      block_content(sequence, block));
}

std::uint32_t Scheduler::drawn(const Row& row, std::span<const chat::TokenId> ids) {
    if (!row.samples) return 0;
    Sequence& sequence = *row.sequence;
    const auto proposed = std::span(sequence.ids).last(row.proposed);
    const auto accepted =
        static_cast<std::uint32_t>(std::ranges::mismatch(proposed, ids).in1 - proposed.begin());
    --sequence.pending;
    sequence.ids.resize(sequence.ids.size() - row.proposed);
    sequence.ids.insert(sequence.ids.end(), ids.begin(), ids.end());
    sequence.computed += accepted;  // none if it was preempted: then there were no proposals
    while (sequence.blocks.size() > blocks_for(sequence.length())) {  // made for refused tokens
        pool_.release(sequence.blocks.back());
        sequence.blocks.pop_back();
    }
    return accepted;
}

bool Scheduler::may_propose() const {
    return limits_.proposed_tokens_max > 0 && running_.size() < proposing_tokens_max &&
           std::ranges::any_of(
               running_,
               [](const Sequence* sequence) {
                   return sequence->pending > 0 && !sequence->speculation.resting();
               });
}

void Scheduler::choose_active() {
    active_.clear();
    for (Sequence* sequence : running_) {
        if (active_.size() == limits_.running_max) break;
        if (!sequence->group.channel->paused()) active_.push_back(sequence);
    }
}

void Scheduler::plan_decode() {
    for (Sequence* sequence : active_) {
        // An older sequence may just have taken this one's blocks.
        if (sequence->phase != Phase::running || sequence->uncomputed() != 1) continue;
        // The pending token is the answer's last.
        if (sequence->state.output().tokens_left() == sequence->pending) continue;
        if (extend_blocks(*sequence)) rows_.push_back({sequence, 1, true});
    }
}

void Scheduler::plan_prefill() {
    for (Sequence* sequence : active_) {
        if (prefill_left_ == 0) return;
        if (sequence->phase == Phase::running && sequence->uncomputed() > 1) plan_chunk(*sequence);
    }
}

void Scheduler::plan_admissions() {
    std::size_t seats = limits_.running_max;
    for (const Sequence* sequence : active_) seats -= sequence->phase == Phase::running ? 1 : 0;
    for (std::size_t next = 0; next < waiting_.size() && prefill_left_ > 0 && seats > 0;) {
        Sequence& sequence = *waiting_[next];
        if (sequence.group.channel->paused() || shares_prompt_in_progress(sequence)) {
            ++next;
            continue;
        }
        // Nobody younger takes the blocks of one whose token is still to come.
        if (sequence.pending > 0 || !take_blocks(sequence)) return;
        // Taking blocks may have sent others here to wait, so that `next` means nothing now.
        const auto place = std::ranges::lower_bound(waiting_, &sequence, comes_before);
        next = static_cast<std::size_t>(waiting_.erase(place) - waiting_.begin());
        insert_in_order(running_, sequence);
        sequence.phase = Phase::running;
        sequence.admitted_before = true;
        plan_chunk(sequence);
        --seats;
    }
}

void Scheduler::plan_chunk(Sequence& sequence) {
    const std::uint32_t tokens = std::min(sequence.uncomputed(), prefill_left_);
    prefill_left_ -= tokens;
    rows_.push_back({&sequence, tokens, tokens == sequence.uncomputed()});
}

// After everything else has got its place and its blocks. Nobody loses anything to a proposal: it
// leaves a free block to each row, and drawn() returns what it took before the next plan. What is
// left of the step is shared evenly, because a choice's next token is likelier to be accepted than
// the one after it.
void Scheduler::plan_proposals() {
    std::uint32_t tokens = 0, rows = static_cast<std::uint32_t>(rows_.size());
    for (const Row& row : rows_) tokens += row.tokens;
    const std::uint32_t tokens_max = std::min(proposing_tokens_max, limits_.batch_tokens_max);
    for (Row& row : rows_) {
        if (tokens >= tokens_max) return;
        const std::uint32_t share = (tokens_max - tokens + rows - 1) / rows;
        --rows;
        Sequence& sequence = *row.sequence;
        // What comes after a token that is not known cannot be proposed; a rest goes on meanwhile.
        if (!row.samples || (sequence.pending > 0 && !sequence.speculation.resting())) continue;
        const std::size_t known = sequence.ids.size();
        const std::uint32_t spare =
            pool_.free() - std::min<std::uint32_t>(pool_.free(), rows_.size());
        const std::size_t room = (sequence.blocks.size() + spare) * block_tokens - known;
        // The answer's last token is not proposed: nothing is drawn after it.
        const std::size_t most = std::min<std::size_t>(
            {share, limits_.proposed_tokens_max, sequence.state.output().tokens_left() - 1, room});
        if (most == 0) continue;
        row.proposed = sequence.speculation.propose(sequence.ids, static_cast<std::uint32_t>(most));
        tokens += row.proposed;
        while (sequence.blocks.size() < blocks_for(sequence.ids.size()))
            sequence.blocks.push_back(pool_.allocate());
    }
}

// Another choice of the same request is computing the prompt: when it is done, this one finds the
// prompt's blocks in the prefix cache.
bool Scheduler::shares_prompt_in_progress(const Sequence& sequence) const {
    if (!pool_.prefix_cache() || sequence.group.prompt_tokens <= block_tokens) return false;
    return std::ranges::any_of(sequence.group.sequences, [](const Sequence& sibling) {
        return sibling.phase == Phase::running && sibling.computed < sibling.group.prompt_tokens;
    });
}

// Blocks for all ids that the sequence has, from the prefix cache as far as possible. At least the
// last id must be computed: its logits are what the sequence waits for. A block per planned row is
// left free, so that those who run do not have to throw the newcomer out again at once.
bool Scheduler::take_blocks(Sequence& sequence) {
    HF_ASSERT(sequence.blocks.empty() && sequence.computed == 0);
    const std::size_t cacheable =
        std::min(sequence.cache_keys.size(), (sequence.ids.size() - 1) / block_tokens);
    for (std::size_t block = 0; block < cacheable; ++block) {
        const auto hit = pool_.acquire(sequence.cache_keys[block], block_content(sequence, block));
        if (!hit) break;
        sequence.blocks.push_back(*hit);
    }
    const auto hits = static_cast<std::uint32_t>(sequence.blocks.size());
    const std::uint32_t missing = blocks_for(sequence.ids.size()) - hits;
    while (pool_.free() < missing + rows_.size()) {
        Sequence* paused = youngest_paused();
        if (paused == nullptr) {
            return_blocks(sequence);
            return false;
        }
        preempt(*paused);
    }
    for (std::uint32_t i = 0; i < missing; ++i) sequence.blocks.push_back(pool_.allocate());
    sequence.computed = hits * block_tokens;
    sequence.published = hits;
    if (!sequence.admitted_before) {
        cached_tokens_ += sequence.computed;
        // Its other choices share the prompt with the first one.
        Group& group = sequence.group;
        if (sequence.choice == 0)
            group.cached_tokens = std::min(sequence.computed, group.prompt_tokens);
    }
    return true;
}

// False: the sequence had to give up its own blocks.
bool Scheduler::extend_blocks(Sequence& sequence) {
    while (sequence.blocks.size() < blocks_for(sequence.length())) {
        if (pool_.free() > 0) {
            sequence.blocks.push_back(pool_.allocate());
            continue;
        }
        Sequence* victim = youngest_paused();
        if (victim == nullptr) victim = running_.back();
        preempt(*victim);
        if (victim == &sequence) return false;
    }
    return true;
}

Sequence* Scheduler::youngest_paused() const {
    for (Sequence* sequence : std::views::reverse(running_))
        if (sequence->group.channel->paused()) return sequence;
    return nullptr;
}

void Scheduler::preempt(Sequence& sequence) {
    ++preemptions_;
    std::erase(running_, &sequence);
    return_blocks(sequence);
    sequence.phase = Phase::waiting;
    insert_in_order(waiting_, sequence);
}

// Last block first: of a prefix, the end is forgotten before the beginning.
void Scheduler::return_blocks(Sequence& sequence) {
    for (const BlockId block : std::views::reverse(sequence.blocks)) pool_.release(block);
    sequence.blocks.clear();
    sequence.computed = 0;
}

}  // namespace holdfast::engine
