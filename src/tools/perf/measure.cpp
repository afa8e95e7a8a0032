#include "tools/perf/measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "common/base/stopwatch.h"
#include "tools/perf/samples.h"
#include "tools/perf/work.h"

namespace holdfast::perf {
namespace {

constexpr std::uint32_t prefill_step_tokens = 512;  // as the engine cuts prompts by default
constexpr double sample_seconds_min = 0.05;

std::uint32_t blocks_for(std::uint32_t tokens) {
    return (tokens + model::block_tokens - 1) / model::block_tokens;
}

std::uint32_t largest(const std::vector<std::uint32_t>& values) {
    return values.empty() ? 0 : *std::ranges::max_element(values);
}

model::LoadOptions on_threads(const Subject& subject, const Options& options, std::uint32_t threads,
                              const cores::Placement& placement) {
    model::LoadOptions load;
    load.device = subject.device->name();
    load.threads = threads;
    load.placement = placement;
    load.isa = options.isa;
    return load;
}

// Loads once, then gives the rate of any series as often as asked.
class Bench {
public:
    static base::Result<Bench> make(const Subject& subject, const Options& options,
                                    const Observer& observer, std::uint32_t threads,
                                    const cores::Placement& placement) {
        Bench bench(options, observer);
        model::LoadOptions load = on_threads(subject, options, threads, placement);
        load.kv_type = options.kv_type;
        load.native_numerics = options.native_numerics;
        load.kv_tokens = bench.blocks_needed() * model::block_tokens;
        load.batch_tokens_max = std::max(std::min(largest(options.prompts), prefill_step_tokens),
                                         std::max(1U, largest(options.batches)));
        HF_TRY_ASSIGN(bench.model_, subject.make(load));
        bench.draw_tokens();
        return bench;
    }

    const model::Model& model() const { return *model_; }

    // Tokens per second of one series; warming up, of its first step alone. Without a meaning once
    // the observer has stopped it.
    double rate(const Series& series, bool warm_up) {
        std::uint64_t tokens = 0;
        const double seconds_min = warm_up ? 0 : sample_seconds_min;
        double seconds = 0;
        do {
            seconds += base::seconds_of([&] {
                tokens += series.phase == Phase::prefill
                              ? prefill(series.tokens)
                              : decode(series.batch, warm_up ? 1 : series.tokens);
            });
        } while (seconds < seconds_min && !observer_.is_stopped());
        return static_cast<double>(tokens) / seconds;
    }

private:
    Bench(const Options& options, const Observer& observer)
        : options_(options), observer_(observer) {}

    std::uint32_t blocks_needed() const {
        return std::max({1U, blocks_for(options_.depth + largest(options_.prompts)),
                         largest(options_.batches) * blocks_for(options_.depth + options_.tokens)});
    }

    void draw_tokens() {
        const std::uint32_t vocab = model_->shape().vocab;
        for (std::uint32_t i = 0;
             i < std::max(largest(options_.prompts), largest(options_.batches)); ++i)
            tokens_.push_back(static_cast<chat::TokenId>(i * 7'919U % vocab));
        for (std::uint32_t i = 0; i < blocks_needed(); ++i) blocks_.push_back(i);
    }

    std::uint32_t prefill(std::uint32_t tokens) {
        for (std::uint32_t done = 0; done < tokens && !observer_.is_stopped();) {
            const std::uint32_t count = std::min(tokens - done, prefill_step_tokens);
            const bool last = done + count == tokens;
            const model::Slice slice{std::span(tokens_).subspan(done, count), options_.depth + done,
                                     blocks_, last ? 1U : 0U};
            model_->forward({&slice, 1});
            done += count;
        }
        return tokens;
    }

    std::uint32_t decode(std::uint32_t batch, std::uint32_t steps) {
        // As in service, where sequences grow side by side, their blocks alternate.
        const std::uint32_t each = blocks_for(options_.depth + options_.tokens);
        std::vector<model::BlockId> blocks(std::size_t{batch} * each);
        for (std::uint32_t i = 0; i < blocks.size(); ++i) blocks[i] = i % each * batch + i / each;
        std::vector<model::Slice> slices(batch);
        for (std::uint32_t step = 0; step < steps && !observer_.is_stopped(); ++step) {
            for (std::uint32_t i = 0; i < batch; ++i)
                slices[i] = {std::span(tokens_).subspan(i, 1), options_.depth + step,
                             std::span(blocks).subspan(std::size_t{i} * each, each), 1};
            model_->forward(slices);
        }
        return batch * steps;
    }

    const Options& options_;
    const Observer& observer_;
    std::unique_ptr<model::Model> model_;
    std::vector<chat::TokenId> tokens_;
    std::vector<model::BlockId> blocks_;
};

base::Result<> check(const Subject& subject, const Options& options) {
    constexpr std::uint32_t batch_max = 4'096, tokens_max = 1U << 20, threads_max = 1'024;
    const auto outside = [](const std::vector<std::uint32_t>& values, std::uint32_t max) {
        return std::ranges::any_of(values, [&](std::uint32_t v) { return v == 0 || v > max; });
    };
    if (options.threads.empty() || outside(options.threads, threads_max))
        return base::fail_field("threads", "threads: not in [1, {}]", threads_max);
    if (outside(options.batches, batch_max))
        return base::fail_field("batches", "batches: not in [1, {}]", batch_max);
    if (outside(options.prompts, tokens_max) || outside({options.tokens}, tokens_max))
        return base::fail_field("tokens", "tokens: not in [1, {}]", tokens_max);
    if (options.prompts.empty() && options.batches.empty())
        return base::fail_field("prompts",
                                "there is nothing to measure: no prompts and no batches");
    if (options.rounds == 0) return base::fail_field("rounds", "rounds: must be 1 or more");
    const std::uint64_t end =
        std::uint64_t{options.depth} + std::max(largest(options.prompts), options.tokens);
    if (end > subject.config.context)
        return base::fail_field("prompts", "{} positions are more than the model's context of {}",
                                end, subject.config.context);
    return {};
}

std::vector<Series> all_series(const Options& options) {
    std::vector<Series> series;
    for (const std::uint32_t tokens : options.prompts)
        series.push_back({Phase::prefill, 1, tokens, {}});
    for (const std::uint32_t batch : options.batches)
        series.push_back({Phase::decode, batch, options.tokens, {}});
    return series;
}

// False if the observer ended it.
base::Result<bool> measure_run(const Subject& subject, const Options& options,
                               const Observer& observer, const cores::Placement& placement,
                               Run& run) {
    Moment moment{run.threads, 0, options.rounds, "loading"};
    observer.show(moment);
    HF_TRY_ASSIGN(auto bench, Bench::make(subject, options, observer, run.threads, placement));
    run.fingerprint = bench.model().fingerprint();
    HF_TRY_ASSIGN(const auto meter,
                  subject.device->make_meter(on_threads(subject, options, run.threads, placement)));
    run.peak = meter->peak();
    run.series = all_series(options);
    for (moment.round = 0; moment.round <= options.rounds; ++moment.round) {
        const bool warm_up = moment.round == 0;
        HF_TRY_ASSIGN(const double bytes_per_second, meter->bandwidth());
        if (!warm_up) run.bandwidth.push_back(bytes_per_second);
        for (Series& one : run.series) {
            moment.what = one.phase == Phase::prefill ? fmt::format("prefill {}", one.tokens)
                                                      : fmt::format("decode batch {}", one.batch);
            observer.show(moment);
            const double rate = bench.rate(one, warm_up);
            if (observer.is_stopped()) return false;
            if (!warm_up) one.tokens_per_second.push_back(rate);
        }
    }
    return true;
}

}  // namespace

base::Result<Report> measure(const Subject& subject, const Options& options,
                             const Observer& observer) {
    HF_TRY(check(subject, options));
    const cores::Machine machine = cores::this_machine();
    cores::Choice choice = options.cores;
    if (!choice.share) choice.share = cores::Share();
    Report report;
    HF_TRY_ASSIGN(report.device, subject.device->info(options.isa));
    for (const std::uint32_t threads : options.threads) {
        Run& run = report.runs.emplace_back();
        run.threads = threads;
        HF_TRY_ASSIGN(const auto placement, cores::place(choice, threads, machine));
        HF_TRY_ASSIGN(const bool finished, measure_run(subject, options, observer, placement, run));
        report.stopped = !finished;
        if (report.stopped) break;
    }
    // A round that was cut short says nothing about the others' neighbours in time, but what it
    // measured is whole; series without any figure say nothing at all.
    for (Run& run : report.runs)
        std::erase_if(run.series, [](const Series& one) { return one.tokens_per_second.empty(); });
    std::erase_if(report.runs, [](const Run& run) { return run.series.empty(); });
    return report;
}

base::Result<double> usual_bandwidth(model::Meter& meter) {
    constexpr int passes = 9;
    std::vector<double> seen;
    for (int i = 0; i <= passes; ++i) {
        HF_TRY_ASSIGN(const double one, meter.bandwidth());
        if (i > 0) seen.push_back(one);  // the first one wakes the threads
    }
    return summarize(std::move(seen)).median;
}

double step_bytes(const Subject& subject, const Options& options, const Series& series) {
    const double positions = options.depth + (series.tokens + 1) / 2.0;
    return static_cast<double>(subject.step_weight_bytes) +
           series.batch * positions *
               kv_bytes_per_token(*subject.device, subject.config, options.kv_type);
}

}  // namespace holdfast::perf
