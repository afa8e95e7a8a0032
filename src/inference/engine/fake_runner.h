// For tests: a runner like a device's, on top of any model.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "inference/engine/engine.h"
#include "inference/engine/runner.h"

namespace holdfast::engine {

// Computes and draws a step when it is launched, from what it knows by then, and tells what it drew
// one step late. What it knows of a sequence whose token is pending is in its seat.
class LateRunner final : public Runner {
public:
    LateRunner(model::Model& model, const text::Tokenizer& tokenizer)
        : model_(model), sampler_(tokenizer, model.shape()) {}

    std::uint32_t depth() const override { return 1; }

    void launch(std::span<const Row> rows) override {
        EXPECT_LE(frames_.size(), 1U) << "more in flight than depth() allows";
        std::vector<model::Slice> slices;
        for (const Row& row : rows) slices.push_back(slice(row));
        std::span<const float> logits = model_.forward(slices);
        Frame& frame = frames_.emplace_back();
        for (const Row& row : rows) {
            const std::size_t size = std::size_t{row.logits()} * model_.shape().vocab;
            frame.push_back(draw(row, logits.first(size)));
            logits = logits.subspan(size);
        }
    }

    base::Result<std::span<Drawn>> collect() override {
        EXPECT_FALSE(frames_.empty()) << "nothing is in flight";
        if (death) return std::unexpected(*death);
        drawn_.clear();
        for (Result& result : frames_.front()) {
            Drawn& drawn = drawn_.emplace_back();
            if (result.sequence->phase == Phase::finished) continue;
            for (Sampler::Draw& draw : result.draws)
                drawn.events.push_back(say(*result.sequence, std::move(draw)));
            drawn.error = std::move(result.error);
        }
        frames_.pop_front();
        return drawn_;
    }

    std::size_t in_flight() const { return frames_.size(); }
    std::optional<base::Error> death;  // what the next collect() says

private:
    struct Result {
        Sequence* sequence;
        std::vector<Sampler::Draw> draws = {};
        std::optional<base::Error> error = {};
    };
    using Frame = std::vector<Result>;
    struct Seat {
        std::optional<TokenState> state;  // has been fed what was drawn, heard of or not
        chat::TokenId last = 0;           // of these
    };

    model::Slice slice(const Row& row) {
        const Sequence& sequence = *row.sequence;
        Seat& seat = seats_[&sequence];
        EXPECT_LE(sequence.pending, 1U);
        model::Slice slice{.tokens = {sequence.ids.data() + sequence.computed, row.computes()},
                           .position = sequence.computed,
                           .blocks = sequence.blocks,
                           .logits = row.logits()};
        if (sequence.pending == 0) {
            seat.state.emplace(sequence.state);
        } else {
            EXPECT_EQ(row.computes(), 1U);
            EXPECT_EQ(sequence.computed, sequence.ids.size());
            slice.tokens = {&seat.last, 1};
        }
        return slice;
    }

    // A device does not know that a choice has ended: it draws on, from a state that stands still.
    Result draw(const Row& row, std::span<const float> logits) {
        Result result{.sequence = row.sequence};
        Sequence& sequence = *row.sequence;
        TokenState& state = *seats_[&sequence].state;
        const auto proposed = std::span(sequence.ids).last(row.proposed);
        for (bool more = row.samples; more;) {
            const std::size_t vocab = model_.shape().vocab, count = result.draws.size();
            auto draw = sampler_.sample(logits.subspan(count * vocab, vocab),
                                        sequence.group.request, sequence.choice, state);
            if (!draw) {
                result.error = draw.error();
                break;
            }
            seats_[&sequence].last = draw->id;
            if (!state.output().finish()) state.feed(draw->id);
            more =
                count < proposed.size() && proposed[count] == draw->id && !state.output().finish();
            result.draws.push_back(*std::move(draw));
        }
        return result;
    }

    model::Model& model_;
    Sampler sampler_;
    std::unordered_map<const Sequence*, Seat> seats_;
    std::deque<Frame> frames_;
    std::vector<Drawn> drawn_;
};

enum class RunnerKind { host, late };

inline std::unique_ptr<Runner> make_late_runner(model::Model& model,
                                                const text::Tokenizer& tokenizer) {
    return std::make_unique<LateRunner>(model, tokenizer);
}
inline MakeRunner maker(RunnerKind kind) {
    return kind == RunnerKind::host ? make_host_runner : make_late_runner;
}

// Runs a suite on every runner: what a test makes without naming one gets the suite's.
class EachRunner : public testing::TestWithParam<RunnerKind> {
public:
    static inline RunnerKind kind = RunnerKind::host;
    // Steps between the one that draws a token and the one that says it.
    static std::uint32_t late() { return kind == RunnerKind::late ? 1 : 0; }

protected:
    void SetUp() override { kind = GetParam(); }
    void TearDown() override { kind = RunnerKind::host; }
};

#define HF_ON_EACH_RUNNER(suite)                                            \
    INSTANTIATE_TEST_SUITE_P(                                               \
        Runner, suite, testing::Values(RunnerKind::host, RunnerKind::late), \
        [](const auto& info) { return info.param == RunnerKind::host ? "host" : "late"; })

}  // namespace holdfast::engine
