// Prints how fast the CPU backend is on this machine: the bandwidth it reads memory with, and
// tokens per second of decoding and prefill, for the shape of DeepSeek-R1-Distill-Qwen-1.5B and a
// tiny one. Medians of several rounds in one process. (The tiny model fits into the caches, so its
// share of the memory's bandwidth may exceed 100 %.)
// Usage: model_bench [threads [isa [1.5b|tiny [weights [kv_type]]]]]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "backend/cpu/kv_cache.h"
#include "backend/cpu/memory.h"
#include "backend/cpu/pool.h"
#include "model/model.h"
#include "model/random.h"

namespace holdfast::model {
namespace {

constexpr int rounds = 5;

template <class Body>
double seconds_of(const Body& body) {
    const auto start = std::chrono::steady_clock::now();
    body();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

// All threads sum a buffer that is larger than the caches.
class Bandwidth {
public:
    explicit Bandwidth(std::uint32_t threads) {
        auto memory = cpu::Memory::reserve(bytes, "the bandwidth measurement");
        auto pool = cpu::Pool::make(threads);
        if (!memory || !pool) std::abort();
        memory_ = std::move(memory).value();
        pool_ = std::move(pool).value();
    }

    double bytes_per_second() {
        return bytes / seconds_of([&] {
                   pool_->run(parts, bytes, [&](std::uint32_t part) { sums_[part] += sum(part); });
               });
    }

private:
    static constexpr std::size_t bytes = std::size_t{1} << 30;
    static constexpr std::uint32_t parts = 64;

    std::uint64_t sum(std::uint32_t part) const {
        constexpr std::size_t words = bytes / parts / 8;
        const auto* const from =
            reinterpret_cast<const std::uint64_t*>(memory_.data()) + part * words;
        std::uint64_t sums[32] = {};
        for (std::size_t i = 0; i < words; i += 32)
            for (std::size_t j = 0; j < 32; ++j) sums[j] += from[i + j];
        std::uint64_t all = 0;
        for (const std::uint64_t one : sums) all += one;
        return all;
    }

    cpu::Memory memory_;
    std::unique_ptr<cpu::Pool> pool_;
    std::vector<std::uint64_t> sums_ = std::vector<std::uint64_t>(parts);
};

class Bench {
public:
    Bench(const tensor::Config& config, LoadOptions options) : config_(config) {
        options.batch_tokens_max = 512;
        options.kv_tokens = sequences * sequence_tokens;
        auto model = random_model(config, *options.weights, options);
        if (!model) {
            fmt::print("{}\n", model.error().what);
            std::exit(1);
        }
        model_ = std::move(model).value();
        // As in service, where sequences grow side by side, their blocks alternate.
        constexpr std::uint32_t each = sequence_tokens / block_tokens;
        for (BlockId i = 0; i < model_->blocks(); ++i)
            blocks_.push_back(i % each * sequences + i / each);
    }

    // Tokens per second of one forward with `batch` decoding rows, so many positions into each
    // answer; with more than 512, all answers have the same blocks.
    double decode(std::uint32_t batch, int steps, std::uint32_t position = 128) {
        const chat::TokenId token = 5;
        std::vector<Slice> slices;
        for (std::uint32_t i = 0; i < batch; ++i)
            slices.push_back({{&token, 1},
                              position,
                              std::span(blocks_).subspan(position < sequence_tokens
                                                             ? i * sequence_tokens / block_tokens
                                                             : 0),
                              1});
        const double seconds = seconds_of([&] {
            for (int i = 0; i < steps; ++i) model_->forward(slices);
        });
        return steps * batch / seconds;
    }

    double prefill(std::uint32_t tokens, int steps) {
        const std::vector<chat::TokenId> prompt(tokens, 5);
        const Slice slice{prompt, 0, blocks_, 1};
        const double seconds = seconds_of([&] {
            for (int i = 0; i < steps; ++i) model_->forward({&slice, 1});
        });
        return steps * tokens / seconds;
    }

private:
    static constexpr std::uint32_t sequences = 32, sequence_tokens = 512;
    tensor::Config config_;
    std::unique_ptr<Model> model_;
    std::vector<BlockId> blocks_;
};

// Multiply-adds per token, of all matrices but the embedding.
double weights_per_token(const tensor::Config& config, bool with_head) {
    const double attended = config.heads * config.head_dim;
    const double layer =
        config.hidden * (2 * attended + 2.0 * config.kv_heads * config.head_dim + 3.0 * config.ffn);
    return config.layers * layer + (with_head ? 1.0 * config.vocab * config.hidden : 0);
}

// Every round measures everything once, so that what else the machine does hits all alike.
void report(const char* name, const tensor::Config& config, const LoadOptions& options,
            int decode_steps) {
    constexpr std::uint32_t batches[] = {1, 8, 16, 32};
    Bench bench(config, options);
    Bandwidth memory(options.threads);
    std::vector<double> bandwidth, far, prefill, share, rates[4], ratios[4];
    const double weights = weights_per_token(config, true);
    const double bytes_per_weight = tensor::bytes_of(*options.weights, 256) / 256.0;
    for (int round = 0; round < rounds; ++round) {
        bandwidth.push_back(memory.bytes_per_second());
        for (std::size_t i = 0; i < std::size(batches); ++i) {
            rates[i].push_back(bench.decode(batches[i], decode_steps));
            ratios[i].push_back(rates[i].back() / rates[0].back());
        }
        share.push_back(rates[0].back() * weights * bytes_per_weight / bandwidth.back());
        far.push_back(bench.decode(1, decode_steps, 8'000));
        prefill.push_back(bench.prefill(512, std::max(1, decode_steps / 32)));
    }
    fmt::print("{}: {} threads, isa {}, weights {}, cache {}\n", name, options.threads,
               options.isa.empty() ? "best" : options.isa, tensor::name(*options.weights),
               cpu::name(options.kv_type));
    fmt::print("  read bandwidth  {:9.2f} GB/s; decoding batch 1 reads at {:.0f} % of it\n",
               median(bandwidth) / 1e9, 100 * median(share));
    for (std::size_t i = 0; i < std::size(batches); ++i)
        fmt::print("  decode batch {:2} {:9.2f} tokens/s, {:.2f} times batch 1, {:.0f} GFLOP/s\n",
                   batches[i], median(rates[i]), median(ratios[i]),
                   median(rates[i]) * weights * 2 / 1e9);
    fmt::print("  at position 8000 {:8.2f} tokens/s\n", median(far));
    fmt::print("  prefill 512     {:9.2f} tokens/s, {:.0f} GFLOP/s in linear layers\n",
               median(prefill), median(prefill) * weights_per_token(config, false) * 2 / 1e9);
}

}  // namespace
}  // namespace holdfast::model

int main(int count, char** arguments) {
    using namespace holdfast;
    const std::string which = count > 3 ? arguments[3] : "";
    model::LoadOptions options;
    options.threads = count > 1 ? static_cast<std::uint32_t>(std::atoi(arguments[1]))
                                : std::thread::hardware_concurrency();
    if (count > 2 && std::strcmp(arguments[2], "best") != 0) options.isa = arguments[2];
    const auto weights = model::parse_weights(count > 4 ? arguments[4] : "bf16");
    const auto kv_type = model::parse_kv_type(count > 5 ? arguments[5] : "f32");
    if (!weights || !*weights || !kv_type) {
        fmt::print("usage: model_bench [threads [isa [1.5b|tiny [weights [kv_type]]]]]\n");
        return 1;
    }
    options.weights = *weights;
    options.kv_type = *kv_type;
    const tensor::Config tiny{.architecture = "qwen2",
                              .layers = 4,
                              .hidden = 256,
                              .heads = 4,
                              .kv_heads = 2,
                              .head_dim = 64,
                              .ffn = 768,
                              .vocab = 1'024,
                              .context = 8'192};
    if (which != "1.5b") model::report("tiny", tiny, options, 200);
    if (which != "tiny")
        model::report("DeepSeek-R1-Distill-Qwen-1.5B", *model::find_shape("r1-1.5b"), options, 1);
    return 0;
}
