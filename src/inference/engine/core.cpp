#include "inference/engine/core.h"

#include <algorithm>
#include <utility>

#include "common/base/assert.h"

namespace holdfast::engine {
namespace {

// One place in the batch stays for a prompt chunk, so that decoding cannot starve newcomers.
SchedulerLimits limits_of(const model::Model& model, const Options& options) {
    const std::uint32_t batch = model.batch_tokens_max();
    return {.running_max = std::min(options.running_max, std::max(batch, 2U) - 1),
            .prefill_tokens_max = options.prefill_tokens_max,
            .batch_tokens_max = batch,
            .proposed_tokens_max = options.speculation_tokens_max};
}

}  // namespace

Core::Core(const model::Model& model, Runner& runner, const Options& options,
           const base::Clock& clock)
    : runner_(runner),
      clock_(clock),
      pool_(model.blocks(), options.prefix_cache),
      scheduler_(pool_, limits_of(model, options)),
      frames_(runner.depth() + 1) {
    HF_ASSERT(runner.depth() <= 1);  // a sequence has one pending token at most when it is planned
}

void Core::add(std::unique_ptr<Group> group) {
    if (death_) return group->channel->fail(*death_);
    group->arrival = arrivals_++;
    counters_.prompt_tokens += group->prompt_tokens;
    for (Sequence& sequence : group->sequences) {
        if (sequence.phase != Phase::finished) {
            scheduler_.add(sequence);
            continue;
        }
        // Resumed when its answer was already complete: the reader needs only to hear that.
        group->events.push_back(
            {.choice = sequence.choice, .finish = sequence.state.output().finish()});
    }
    if (group->unfinished == 0) group->events.back().usage = group->usage();
    if (!group->events.empty()) group->channel->push(group->events);
    if (group->unfinished > 0) groups_.push_back(std::move(group));
}

bool Core::step() {
    drop_cancelled_and_expired();
    const std::uint64_t before = counters_.steps;
    if (in_flight_ > 0 && must_know()) commit_oldest();
    const std::span<const Row> rows = scheduler_.plan();
    if (!rows.empty()) launch(rows);
    if (in_flight_ > runner_.depth() || (in_flight_ > 0 && rows.empty())) commit_oldest();
    return !rows.empty() || counters_.steps > before;
}

void Core::drop_cancelled_and_expired() {
    const base::Instant now = clock_.now();
    for (const std::unique_ptr<Group>& group : groups_) {
        if (group->unfinished == 0) continue;  // only waits for its rows in flight
        if (group->channel->cancelled()) {
            ++counters_.cancelled;
            fail(*group, {base::Code::cancelled, "the reader has left", base::Origin::client});
        } else if (group->deadline.passed(now)) {
            fail(*group, {.code = base::Code::deadline,
                          .what = "the request's deadline passed before its answer was complete",
                          .tag = "deadline_exceeded"});
        }
    }
    forget_finished_groups();
}

// What is in flight decides what can be planned: proposals are taken or refused first, and who may
// propose has to know its last token.
bool Core::must_know() const {
    return std::ranges::any_of(frames_[oldest_], [](const Row& row) { return row.proposed > 0; }) ||
           scheduler_.may_propose();
}

void Core::launch(std::span<const Row> rows) {
    std::vector<Row>& frame = frames_[(oldest_ + in_flight_++) % frames_.size()];
    frame.assign(rows.begin(), rows.end());
    runner_.launch(frame);
    for (const Row& row : frame) {
        scheduler_.launched(row);
        ++row.sequence->group.in_flight;
    }
}

void Core::commit_oldest() {
    const base::Result<std::span<Drawn>> drawn = runner_.collect();
    if (!drawn) return die(drawn.error());
    const std::vector<Row>& frame = frames_[oldest_];
    HF_ASSERT(drawn->size() == frame.size());
    const auto count = static_cast<std::uint32_t>(frame.size());
    for (std::size_t i = 0; i < frame.size(); ++i) commit(frame[i], (*drawn)[i], count);
    oldest_ = (oldest_ + 1) % frames_.size();
    --in_flight_;
    ++counters_.steps;
    push_events();
}

void Core::commit(const Row& row, Drawn& drawn, std::uint32_t rows) {
    Sequence& sequence = *row.sequence;
    --sequence.group.in_flight;
    // It ended after this row was launched, or a sibling's row has just failed the group.
    if (sequence.phase == Phase::finished) return;
    drawn_ids_.clear();
    for (const chat::Event& event : drawn.events)
        drawn_ids_.insert(drawn_ids_.end(), event.ids.begin(), event.ids.end());
    const std::uint32_t accepted = scheduler_.drawn(row, drawn_ids_);
    counters_.proposed_tokens += row.proposed;
    counters_.accepted_tokens += accepted;
    counters_.generated_tokens += drawn_ids_.size();
    if (row.proposed > 0) sequence.speculation.learn(row.proposed, accepted, rows);
    for (chat::Event& event : drawn.events) {
        if (event.finish) finish(sequence, event);
        sequence.group.events.push_back(std::move(event));
    }
    if (drawn.error) fail(sequence.group, *std::move(drawn.error));
}

// Nothing can be computed any more: all requests end, and so does every later one.
void Core::die(const base::Error& error) {
    death_ = error;
    in_flight_ = 0;
    for (const std::unique_ptr<Group>& group : groups_) group->in_flight = 0;
    fail_all(error);
}

void Core::finish(Sequence& sequence, chat::Event& event) {
    scheduler_.remove(sequence);
    if (--sequence.group.unfinished == 0) event.usage = sequence.group.usage();
}

void Core::fail(Group& group, base::Error error) {
    for (Sequence& sequence : group.sequences) scheduler_.remove(sequence);
    group.unfinished = 0;
    if (!group.events.empty()) group.channel->push(group.events);
    group.channel->fail(std::move(error));
}

void Core::push_events() {
    bool some_finished = false;
    for (const std::unique_ptr<Group>& group : groups_) {
        if (!group->events.empty()) group->channel->push(group->events);
        some_finished |= group->unfinished == 0;
    }
    if (some_finished) forget_finished_groups();
}

void Core::forget_finished_groups() {
    std::erase_if(
        groups_, [](const auto& group) { return group->unfinished == 0 && group->in_flight == 0; });
}

base::Deadline Core::nearest_deadline() const {
    base::Deadline nearest;
    for (const std::unique_ptr<Group>& group : groups_) nearest = nearest.sooner(group->deadline);
    return nearest;
}

Stats Core::stats() const {
    Stats stats = counters_;
    for (const Sequence* sequence : scheduler_.running())
        ++(sequence->group.channel->paused() ? stats.paused : stats.running);
    for (const Sequence* sequence : scheduler_.waiting())
        ++(sequence->group.channel->paused() ? stats.paused : stats.waiting);
    stats.blocks_used = pool_.used();
    stats.blocks_total = pool_.total();
    stats.cached_tokens = scheduler_.cached_tokens();
    stats.preemptions = scheduler_.preemptions();
    return stats;
}

void Core::fail_unstarted(const base::Error& error) {
    for (const std::unique_ptr<Group>& group : groups_)
        if (std::ranges::none_of(group->sequences, &Sequence::admitted_before)) fail(*group, error);
    forget_finished_groups();
}

void Core::fail_all(const base::Error& error) {
    for (const std::unique_ptr<Group>& group : groups_)
        if (group->unfinished > 0) fail(*group, error);
    while (in_flight_ > 0) commit_oldest();
    forget_finished_groups();
}

}  // namespace holdfast::engine
