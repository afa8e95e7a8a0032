#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <utility>

#include "common/base/assert.h"
#include "inference/engine/engine.h"
#include "inference/engine/runner.h"

namespace holdfast::engine {
namespace {

// More threads than that have too little to do.
constexpr std::uint32_t samplers_max = 8;

class HostRunner final : public Runner {
public:
    HostRunner(model::Model& model, const text::Tokenizer& tokenizer)
        : model_(model),
          vocab_(model.shape().vocab),
          samplers_(std::clamp(model.threads(), 1U, samplers_max),
                    Sampler(tokenizer, model.shape())) {}

    std::uint32_t depth() const override { return 0; }
    void launch(std::span<const Row> rows) override;
    base::Result<std::span<Drawn>> collect() override { return std::span(drawn_).first(rows_); }

private:
    void draw_all(std::span<const Row> rows, std::span<const float> logits);
    void draw(const Row& row, std::span<const float> logits, Sampler& sampler, Drawn& drawn) const;

    model::Model& model_;
    const std::size_t vocab_;
    std::vector<Sampler> samplers_;  // one for each thread that draws
    std::vector<model::Slice> slices_;
    std::vector<std::span<const float>> logits_;  // by row
    std::vector<Drawn> drawn_;                    // of the first rows_ rows
    std::size_t rows_ = 0;
};

void HostRunner::launch(std::span<const Row> rows) {
    slices_.clear();
    for (const Row& row : rows) {
        const Sequence& sequence = *row.sequence;
        slices_.push_back({.tokens = {sequence.ids.data() + sequence.computed, row.computes()},
                           .position = sequence.computed,
                           .blocks = sequence.blocks,
                           .logits = row.logits()});
    }
    draw_all(rows, model_.forward(slices_));
}

// On all threads of the model: a row touches its own sequence and what is immutable.
void HostRunner::draw_all(std::span<const Row> rows, std::span<const float> logits) {
    rows_ = rows.size();
    if (drawn_.size() < rows_) drawn_.resize(rows_);
    const std::uint64_t operations = logits.size();
    logits_.clear();
    for (const Row& row : rows) {
        logits_.push_back(logits.first(row.logits() * vocab_));
        logits = logits.subspan(logits_.back().size());
    }
    HF_ASSERT(logits.empty());
    std::atomic<std::size_t> next = 0;
    const auto draw_some = [&](std::uint32_t task) {
        for (std::size_t i = next++; i < rows.size(); i = next++)
            draw(rows[i], logits_[i], samplers_[task], drawn_[i]);
    };
    const std::size_t tasks = std::min(samplers_.size(), rows.size());
    model_.run(static_cast<std::uint32_t>(tasks), operations, std::ref(draw_some));
}

// Draws the sequence's next token and, as long as it was proposed, the one after it.
void HostRunner::draw(const Row& row, std::span<const float> logits, Sampler& sampler,
                      Drawn& drawn) const {
    drawn.events.clear();
    drawn.error.reset();
    Sequence& sequence = *row.sequence;
    const std::span<const chat::TokenId> proposed = std::span(sequence.ids).last(row.proposed);
    for (bool more = row.samples; more;) {
        const std::size_t count = drawn.events.size();
        auto draw = sampler.sample(logits.subspan(count * vocab_, vocab_), sequence.group.request,
                                   sequence.choice, sequence.state);
        if (!draw) {
            drawn.error = std::move(draw).error();
            return;
        }
        const bool accepted = count < proposed.size() && proposed[count] == draw->id;
        const chat::Event& event = drawn.events.emplace_back(say(sequence, *std::move(draw)));
        more = accepted && !event.finish;
    }
}

}  // namespace

chat::Event say(Sequence& sequence, Sampler::Draw draw) {
    Output::Text text = sequence.state.feed(draw.id);
    chat::Event event{.choice = sequence.choice, .finish = text.finish};
    event.ids.push_back(draw.id);
    event.reasoning = std::move(text.reasoning);
    event.content = std::move(text.content);
    if (draw.score) event.scores.push_back(*std::move(draw.score));
    return event;
}

std::unique_ptr<Runner> make_host_runner(model::Model& model, const text::Tokenizer& tokenizer) {
    return std::make_unique<HostRunner>(model, tokenizer);
}

}  // namespace holdfast::engine
