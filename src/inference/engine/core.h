// The engine without its thread: everything that happens in a step. Tests drive it directly.
#pragma once

#include <memory>
#include <vector>

#include "common/base/clock.h"
#include "inference/engine/blocks.h"
#include "inference/engine/engine.h"
#include "inference/engine/sampler.h"
#include "inference/engine/scheduler.h"
#include "inference/engine/sequence.h"

namespace holdfast::engine {

// Owns all groups and all scheduling state. One thread. Model, tokenizer and clock must outlive it.
class Core {
public:
    Core(model::Model& model, const text::Tokenizer& tokenizer, const Options& options,
         const base::Clock& clock);

    // The group's prompt and max_tokens fit into the pool (Preparer has checked).
    void add(std::unique_ptr<Group> group);
    // Drops cancelled and expired groups, then plan -> run -> commit. False: nothing could be
    // computed, and nothing can be until a group is added or a reader catches up.
    bool step();

    bool empty() const { return groups_.empty(); }
    base::Deadline nearest_deadline() const;
    // Without `progress`, which only the model knows.
    Stats stats() const;

    void fail_unstarted(const base::Error& error);  // groups that no step has worked for
    void fail_all(const base::Error& error);

private:
    void drop_cancelled_and_expired();
    void run(std::span<const Row> rows);
    // What a row's logits made of its sequence: an event for each token.
    struct Drawn {
        std::span<const float> logits;
        std::vector<chat::Event> events;
        std::uint32_t accepted = 0;  // of the proposed tokens
        std::optional<base::Error> error;
    };
    void draw_all(std::span<const Row> rows, std::span<const float> logits);
    void draw(const Row& row, Sampler& sampler, Drawn& drawn);
    void commit(const Row& row, Drawn& drawn, std::uint32_t rows);
    void finish(Sequence& sequence, chat::Event& event);
    void fail(Group& group, base::Error error);
    void push_events();
    void forget_finished_groups();

    model::Model& model_;
    const base::Clock& clock_;
    const std::size_t vocab_;
    BlockPool pool_;
    Scheduler scheduler_;
    std::vector<Sampler> samplers_;               // one for each thread that draws
    std::vector<std::unique_ptr<Group>> groups_;  // oldest first
    std::vector<model::Slice> slices_;
    std::vector<Drawn> drawn_;  // by row of the step
    std::uint64_t arrivals_ = 0;
    Stats counters_;
};

}  // namespace holdfast::engine
