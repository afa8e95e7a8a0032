// The engine without its thread: everything that happens in a step. Tests drive it directly.
#pragma once

#include <memory>
#include <vector>

#include "common/base/clock.h"
#include "inference/engine/blocks.h"
#include "inference/engine/engine.h"
#include "inference/engine/runner.h"
#include "inference/engine/scheduler.h"
#include "inference/engine/sequence.h"

namespace holdfast::engine {

// Owns all groups and all scheduling state. One thread. Runner and clock must outlive it.
class Core {
public:
    // The model is asked for its limits only; the runner computes with it.
    Core(const model::Model& model, Runner& runner, const Options& options,
         const base::Clock& clock);

    // The group's prompt and max_tokens fit into the pool (Preparer has checked).
    void add(std::unique_ptr<Group> group);
    // Drops cancelled and expired groups, then plan -> launch -> collect -> commit; what is
    // collected is this step's, or with a runner of depth 1 the one before. False: nothing is in
    // flight and nothing can be computed until a group is added or a reader catches up.
    bool step();

    bool empty() const { return groups_.empty(); }  // then nothing is in flight either
    base::Deadline nearest_deadline() const;
    // Without `progress`, which only the model knows.
    Stats stats() const;

    void fail_unstarted(const base::Error& error);  // groups that no step has worked for
    void fail_all(const base::Error& error);        // and waits for what is in flight

private:
    void drop_cancelled_and_expired();
    bool must_know() const;
    void launch(std::span<const Row> rows);
    void commit_oldest();
    void commit(const Row& row, Drawn& drawn, std::uint32_t rows);
    void die(const base::Error& error);
    void finish(Sequence& sequence, chat::Event& event);
    void fail(Group& group, base::Error error);
    void push_events();
    void forget_finished_groups();

    Runner& runner_;
    const base::Clock& clock_;
    BlockPool pool_;
    Scheduler scheduler_;
    std::vector<std::unique_ptr<Group>> groups_;  // oldest first
    std::vector<std::vector<Row>> frames_;        // a ring: the rows of each step in flight
    std::size_t oldest_ = 0, in_flight_ = 0;      // frames
    std::vector<chat::TokenId> drawn_ids_;        // of one row
    std::optional<base::Error> death_;            // the runner's
    std::uint64_t arrivals_ = 0;
    Stats counters_;
};

}  // namespace holdfast::engine
