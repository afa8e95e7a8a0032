// Which ids the next step computes, and which blocks they get.
#pragma once

#include <span>
#include <vector>

#include "inference/engine/blocks.h"
#include "inference/engine/sequence.h"

namespace holdfast::engine {

// The next `tokens` uncomputed ids of a sequence.
struct Row {
    Sequence* sequence;
    std::uint32_t tokens;
    bool samples;                // they are the last ones: their logits give the next id
    std::uint32_t proposed = 0;  // ids after them that nobody has drawn yet

    std::uint32_t computes() const { return tokens + proposed; }
    std::uint32_t logits() const { return samples ? 1 + proposed : 0; }
};

// Proposals fill a step up to so many tokens. Until then the weights' way from memory takes most of
// its time, and a row more is nearly free; beyond, a row costs about as much as one of an answer.
inline constexpr std::uint32_t proposing_tokens_max = 8;

struct SchedulerLimits {
    std::uint32_t running_max;              // sequences in one step
    std::uint32_t prefill_tokens_max;       // per step, all sequences
    std::uint32_t batch_tokens_max;         // per step, decode included; at least running_max
    std::uint32_t proposed_tokens_max = 0;  // per sequence and step
};

// Engine thread only. Refers to sequences that others own; each is told apart by its phase. First
// come, first served: an older sequence never waits for a younger one, and takes its blocks if need
// be (preemption: the younger one is computed again later). So the oldest always finishes, given
// that each sequence alone fits into the pool, which admission to the engine has checked.
//
// A step may be planned while the last one is in flight, so that its tokens are pending: a sequence
// goes on behind its pending token as if it were known. Preemption and removal leave `pending` as
// it is, because the token comes all the same; a preempted sequence waits for it before it is
// admitted again. Blocks are free at once: whoever gets them writes later (runner.h).
//
// A sequence whose reader is behind (its channel is paused) is not planned, does not count against
// running_max, and is the first to lose its blocks.
class Scheduler {
public:
    Scheduler(BlockPool& pool, SchedulerLimits limits);

    void add(Sequence& sequence);     // waits for its turn
    void remove(Sequence& sequence);  // in any phase; returns its blocks
    // Decode rows first, oldest first, then prompt chunks; proposals take what is left, and never a
    // block that somebody else needs. Empty: there is nothing to do until a sequence is added or
    // a reader catches up. Valid until the next call.
    std::span<const Row> plan();
    // The row is being computed: everything launched later finds its blocks' content there.
    void launched(const Row& row);
    // The row, of a sequence that has not finished, has drawn these. Returns how many of them were
    // proposed; the other proposals leave the sequence.
    std::uint32_t drawn(const Row& row, std::span<const chat::TokenId> ids);
    // A proposal needs the tokens before it: the next plan would make some if none were pending.
    bool may_propose() const;

    std::span<Sequence* const> waiting() const { return waiting_; }
    std::span<Sequence* const> running() const { return running_; }
    std::uint64_t preemptions() const { return preemptions_; }
    std::uint64_t cached_tokens() const { return cached_tokens_; }

private:
    void choose_active();
    void plan_decode();
    void plan_prefill();
    void plan_admissions();
    void plan_chunk(Sequence& sequence);
    void plan_proposals();
    bool shares_prompt_in_progress(const Sequence& sequence) const;
    bool take_blocks(Sequence& sequence);
    bool extend_blocks(Sequence& sequence);
    Sequence* youngest_paused() const;
    void preempt(Sequence& sequence);
    void return_blocks(Sequence& sequence);

    BlockPool& pool_;
    const SchedulerLimits limits_;
    std::vector<Sequence*> waiting_, running_;  // by comes_before
    std::vector<Sequence*> active_;             // running and not paused, for one plan
    std::vector<Row> rows_;
    std::uint32_t prefill_left_ = 0;  // tokens, in the plan being made
    std::uint64_t preemptions_ = 0, cached_tokens_ = 0;
};

}  // namespace holdfast::engine
