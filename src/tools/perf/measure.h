// Measures the engine alone: what a model's forward passes reach on this machine, without HTTP,
// tokenizer or sampling.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/cores/placement.h"
#include "inference/model/device.h"
#include "inference/model/model.h"
#include "inference/tensor/config.h"
#include "inference/tensor/kv_type.h"

namespace holdfast::perf {

// What is measured. `make` is called once for each number of threads, and each model is gone before
// the next is made.
struct Subject {
    std::string name;
    std::shared_ptr<const model::Device> device = model::processor();
    tensor::Config config;
    std::string weights;                // their type, for people
    std::size_t step_weight_bytes = 0;  // of weights that one decode step reads
    std::function<base::Result<std::unique_ptr<model::Model>>(const model::LoadOptions&)> make;
};

struct Options {
    std::vector<std::uint32_t> threads{1};
    std::vector<std::uint32_t> prompts{128, 512};      // tokens of a prefill
    std::vector<std::uint32_t> batches{1, 8, 16, 32};  // sequences of a decode
    std::uint32_t tokens = 32;                         // that each sequence decodes
    std::uint32_t depth = 128;                         // positions before the first one measured
    std::uint32_t rounds = 5;
    std::string isa;
    tensor::KvType kv_type = tensor::KvType::f32;
    bool native_numerics = false;
    cores::Choice cores;  // that the threads are kept to, as those of the only worker of `serve`
};

enum class Phase { prefill, decode };

struct Series {
    Phase phase = Phase::prefill;
    std::uint32_t batch = 1;                // sequences
    std::uint32_t tokens = 0;               // of each sequence
    std::vector<double> tokens_per_second;  // one a round
};

// One number of threads.
struct Run {
    std::uint32_t threads = 0;
    std::string fingerprint;
    std::optional<model::Meter::Peak> peak;  // of the arithmetic, where it can be measured
    std::vector<double> bandwidth;           // bytes per second, one a round
    std::vector<Series> series;
};

struct Report {
    model::DeviceInfo device;
    std::vector<Run> runs;
    bool stopped = false;  // before all rounds were done: what is there is whole
};

// Where a measurement is. Round 0 warms up.
struct Moment {
    std::uint32_t threads = 0, round = 0, rounds = 0;
    std::string what;
};

struct Observer {
    std::function<void(const Moment&)> show;  // called before each figure
    std::function<bool()> is_stopped;         // asked after each forward pass; true ends it all
};

// Rounds are interleaved: each measures everything once, the bandwidth first, so that what else
// the machine does hits all alike. A figure repeats its work until it has taken long enough for
// the clock. Keys and values of earlier positions are zeros, which take as long as any.
// Errors: invalid, if the context is too short or an option is out of range; those of `make`.
[[nodiscard]] base::Result<Report> measure(const Subject& subject, const Options& options,
                                           const Observer& observer);

// The median of several passes: about half a second. Errors as Meter::bandwidth().
[[nodiscard]] base::Result<double> usual_bandwidth(model::Meter& meter);

// Bytes of weights, keys and values that a decode step reads, in the middle of the series.
double step_bytes(const Subject& subject, const Options& options, const Series& series);

}  // namespace holdfast::perf
