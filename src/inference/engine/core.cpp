#include "inference/engine/core.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <utility>

#include "common/base/assert.h"

namespace holdfast::engine {
namespace {

// More threads than that have too little to do.
constexpr std::uint32_t samplers_max = 8;

// The drawn token's event.
chat::Event say(Sequence& sequence, Sampler::Draw draw) {
    Output::Text text = sequence.state.feed(draw.id);
    chat::Event event{.choice = sequence.choice, .finish = text.finish};
    event.ids.push_back(draw.id);
    event.reasoning = std::move(text.reasoning);
    event.content = std::move(text.content);
    if (draw.score) event.scores.push_back(*std::move(draw.score));
    return event;
}

// One place in the batch stays for a prompt chunk, so that decoding cannot starve newcomers.
SchedulerLimits limits_of(const model::Model& model, const Options& options) {
    const std::uint32_t batch = model.batch_tokens_max();
    return {.running_max = std::min(options.running_max, std::max(batch, 2U) - 1),
            .prefill_tokens_max = options.prefill_tokens_max,
            .batch_tokens_max = batch,
            .proposed_tokens_max = options.speculation_tokens_max};
}

}  // namespace

Core::Core(model::Model& model, const text::Tokenizer& tokenizer, const Options& options,
           const base::Clock& clock)
    : model_(model),
      clock_(clock),
      vocab_(model.shape().vocab),
      pool_(model.blocks(), options.prefix_cache),
      scheduler_(pool_, limits_of(model, options)),
      samplers_(std::clamp(model.threads(), 1U, samplers_max), Sampler(tokenizer, model.shape())) {}

void Core::add(std::unique_ptr<Group> group) {
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
    const std::span<const Row> rows = scheduler_.plan();
    if (rows.empty()) return false;
    run(rows);
    return true;
}

void Core::drop_cancelled_and_expired() {
    const base::Instant now = clock_.now();
    for (const std::unique_ptr<Group>& group : groups_) {
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

void Core::run(std::span<const Row> rows) {
    slices_.clear();
    for (const Row& row : rows) {
        const Sequence& sequence = *row.sequence;
        slices_.push_back({.tokens = {sequence.ids.data() + sequence.computed, row.computes()},
                           .position = sequence.computed,
                           .blocks = sequence.blocks,
                           .logits = row.logits()});
    }
    draw_all(rows, model_.forward(slices_));
    const auto count = static_cast<std::uint32_t>(rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) commit(rows[i], drawn_[i], count);
    push_events();
    ++counters_.steps;
}

// On all threads of the model: a row touches its own sequence and what is immutable.
void Core::draw_all(std::span<const Row> rows, std::span<const float> logits) {
    if (drawn_.size() < rows.size()) drawn_.resize(rows.size());
    const std::uint64_t operations = logits.size();
    for (std::size_t i = 0; i < rows.size(); ++i) {
        drawn_[i].logits = logits.first(rows[i].logits() * vocab_);
        logits = logits.subspan(drawn_[i].logits.size());
    }
    HF_ASSERT(logits.empty());
    std::atomic<std::size_t> next = 0;
    const auto draw_some = [&](std::uint32_t task) {
        for (std::size_t i = next++; i < rows.size(); i = next++)
            draw(rows[i], samplers_[task], drawn_[i]);
    };
    const std::size_t tasks = std::min(samplers_.size(), rows.size());
    model_.run(static_cast<std::uint32_t>(tasks), operations, std::ref(draw_some));
}

// Draws the sequence's next token and, as long as it was proposed, the one after it. Afterwards the
// sequence's ids are drawn ones only.
void Core::draw(const Row& row, Sampler& sampler, Drawn& drawn) {
    drawn.events.clear();
    drawn.accepted = 0;
    drawn.error.reset();
    Sequence& sequence = *row.sequence;
    const std::size_t known = sequence.ids.size() - row.proposed;
    for (bool more = row.samples; more;) {
        const std::size_t count = drawn.events.size();
        auto draw = sampler.sample(drawn.logits.subspan(count * vocab_, vocab_),
                                   sequence.group.request, sequence.choice, sequence.state);
        if (!draw) {
            drawn.error = std::move(draw).error();
            break;
        }
        const bool accepted = count < row.proposed && sequence.ids[known + count] == draw->id;
        if (accepted) {
            ++drawn.accepted;
        } else {
            sequence.ids.resize(known + count);
            sequence.ids.push_back(draw->id);
        }
        chat::Event& event = drawn.events.emplace_back(say(sequence, *std::move(draw)));
        more = accepted && !event.finish;
    }
    sequence.ids.resize(known + drawn.events.size());
}

void Core::commit(const Row& row, Drawn& drawn, std::uint32_t rows) {
    Sequence& sequence = *row.sequence;
    if (sequence.phase == Phase::finished) return;  // a sibling's row has failed the group
    scheduler_.advance(row, drawn.accepted);
    counters_.proposed_tokens += row.proposed;
    counters_.accepted_tokens += drawn.accepted;
    counters_.generated_tokens += drawn.events.size();
    if (row.proposed > 0) sequence.speculation.learn(row.proposed, drawn.accepted, rows);
    for (chat::Event& event : drawn.events) {
        if (event.finish) finish(sequence, event);
        sequence.group.events.push_back(std::move(event));
    }
    if (drawn.error) fail(sequence.group, *std::move(drawn.error));
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
    std::erase_if(groups_, [](const auto& group) { return group->unfinished == 0; });
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
    for (const std::unique_ptr<Group>& group : groups_) fail(*group, error);
    groups_.clear();
}

}  // namespace holdfast::engine
