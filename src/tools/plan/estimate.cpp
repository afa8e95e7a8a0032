#include "tools/plan/estimate.h"

#include <algorithm>
#include <array>

#include "inference/model/model.h"

namespace holdfast::plan {
namespace {

// How close to its data sheet hardware comes: the two terms of a decode step's time, and the share
// of the arithmetic peak. The sentences are the sources of the numbers.
struct Efficiency {
    double bandwidth;
    double layer_seconds;  // spent per layer and step on anything but reading
    double arithmetic;
    double integer_arithmetic;  // the same for quantized weights, where there are integer kernels
    double overhead_bytes;
    std::array<std::string_view, 3> sources;
};

constexpr Efficiency processor{
    .bandwidth = 0.9,
    .layer_seconds = 0,
    .arithmetic = 0.75,
    .integer_arithmetic = 2.5,
    .overhead_bytes = 0,
    .sources = {
        "Decode: 90 % of the measured read bandwidth, as docs/benchmarks.md reports for this "
        "engine.",
        "Prefill and large batches: 75 % of the measured float32 peak (docs/benchmarks.md: 72 to "
        "85 %), 250 % for quantized weights where the processor has VNNI (q8_0 and q4_0 of the "
        "1.5B shape: 260 to 278 %).",
        "Memory is what the engine reserves, by its own formulas, of what is available now; the "
        "program itself and the tokenizer take some tens of MB more."}};

// 487 tokens/s of vLLM 0.26 with the 1.5B shape in bf16 on an H200 that reads 4.47 TB/s: at 90 %
// of that, 768 of 2,053 microseconds are reading, so 28 layers take 46 each. Large models on slow
// memory hide it: calm reaches 88 % of an RTX 4090's bandwidth with 2.7 billion parameters. The
// same vLLM prefills 197,000 tokens/s, 52 % of 989 TFLOP/s.
constexpr Efficiency card{
    .bandwidth = 0.9,
    .layer_seconds = 46e-6,
    .arithmetic = 0.5,
    .integer_arithmetic = 0.5,
    .overhead_bytes = 1.0 * (1U << 30),
    .sources = {
        "Decode: 90 % of the data sheet's bandwidth (calm on an RTX 4090: 88 %) and 46 us per "
        "layer and step (vLLM 0.26 with the 1.5B shape on an H200).",
        "Prefill and large batches: 50 % of the dense 16-bit tensor rate (vLLM 0.26 on an H200: "
        "52 %).",
        "Memory: 1 GiB for driver, libraries and graphs is an assumption. Holdfast has no GPU "
        "backend yet; weights and KV are counted as its engine lays them out."}};

const Efficiency& efficiency(const Hardware& hardware) {
    return hardware.is_processor ? processor : card;
}

constexpr std::uint32_t prompt_tokens = 512;

double as_double(std::size_t bytes) { return static_cast<double>(bytes); }

std::size_t kv_bytes(const tensor::Config& config, const Hardware& hardware, const Wish& wish,
                     std::uint32_t sequences) {
    const std::uint32_t blocks = (wish.context + model::block_tokens - 1) / model::block_tokens;
    return hardware.device->cache_bytes(config, wish.kv_type, sequences * blocks);
}

// Activations and logits.
std::size_t working_bytes(const tensor::Config& config, const Hardware& hardware) {
    model::LoadOptions options;
    options.threads = std::max(1U, hardware.threads);
    return hardware.device->working_bytes(config, options);
}

Memory memory_for(const tensor::Config& config, const model::WeightBytes& weights,
                  const Hardware& hardware, const Wish& wish, std::uint32_t sequences) {
    return {.weights = as_double(hardware.is_processor ? weights.reserved : weights.exact),
            .kv = as_double(kv_bytes(config, hardware, wish, sequences)),
            .working = as_double(working_bytes(config, hardware)),
            .overhead = efficiency(hardware).overhead_bytes};
}

// Most sequences that fit: a step has a row for each of them, and at most batch_tokens_max rows.
std::uint32_t most_sequences(const tensor::Config& config, const model::WeightBytes& weights,
                             const Hardware& hardware, const Wish& wish) {
    const auto room = static_cast<double>(hardware.memory_bytes);
    const Memory of_none = memory_for(config, weights, hardware, wish, 0);
    const double each =
        perf::kv_bytes_per_token(*hardware.device, config, wish.kv_type) * wish.context;
    const double rows_max = hardware.device->defaults().batch_tokens_max;
    auto sequences =
        static_cast<std::uint32_t>(std::clamp((room - of_none.total()) / each, 0.0, rows_max));
    // Memory comes in whole pages, so that the last one may be too many.
    if (sequences > 0 && memory_for(config, weights, hardware, wish, sequences).total() > room)
        --sequences;
    return sequences;
}

// Operations per second that can be expected; none where the peak is not known.
std::optional<double> expected_operations(const Hardware& hardware,
                                          const model::WeightBytes& weights) {
    if (!hardware.operations_per_second) return std::nullopt;
    const Efficiency& share = efficiency(hardware);
    return *hardware.operations_per_second * (weights.quantized && hardware.has_integer_kernels
                                                  ? share.integer_arithmetic
                                                  : share.arithmetic);
}

// Tokens per second of `batch` sequences, each at `context`.
double decode_rate(const tensor::Config& config, const model::WeightBytes& weights,
                   double kv_bytes_per_token, const Hardware& hardware, std::uint32_t context,
                   std::uint32_t batch) {
    const Efficiency& share = efficiency(hardware);
    const double bytes = as_double(weights.step) + batch * (kv_bytes_per_token * context);
    double seconds = bytes / (hardware.bytes_per_second * share.bandwidth);
    if (const auto expected = expected_operations(hardware, weights)) {
        const double operations = batch * perf::token_operations(config, context - 1.0, true);
        seconds = std::max(seconds, operations / *expected);
    }
    return batch / (seconds + config.layers * share.layer_seconds);
}

}  // namespace

bool can_have(const tensor::Config& config, tensor::DataType weights) {
    const std::uint32_t block = tensor::traits(weights).block_elements;
    return config.hidden % block == 0 && config.ffn % block == 0 &&
           config.heads * config.head_dim % block == 0;
}

Estimate estimate(const tensor::Config& config, const model::WeightBytes& weights,
                  const Hardware& hardware, const Wish& asked) {
    Wish wish = asked;
    wish.context = std::min(wish.context, config.context);
    Estimate out;
    out.kv_bytes_per_token = perf::kv_bytes_per_token(*hardware.device, config, wish.kv_type);
    out.sequences =
        wish.sequences ? *wish.sequences : most_sequences(config, weights, hardware, wish);
    const std::uint32_t shown = std::max(1U, out.sequences);
    out.memory = memory_for(config, weights, hardware, wish, shown);
    out.fits =
        out.sequences > 0 && out.memory.total() <= static_cast<double>(hardware.memory_bytes);
    out.limit_per_second = hardware.bytes_per_second /
                           (as_double(weights.step) + out.kv_bytes_per_token * wish.context);
    const auto rate = [&](std::uint32_t batch) {
        return decode_rate(config, weights, out.kv_bytes_per_token, hardware, wish.context, batch);
    };
    out.single_per_second = rate(1);
    out.full_per_second = rate(shown);
    if (const auto expected = expected_operations(hardware, weights))
        out.prefill_per_second =
            *expected / perf::token_operations(config, (prompt_tokens - 1) / 2.0, false);
    return out;
}

std::vector<std::string_view> assumptions(const Hardware& hardware) {
    const auto& sources = efficiency(hardware).sources;
    return {sources.begin(), sources.end()};
}

Cost cost(const Prices& prices, double full_per_second) {
    constexpr double hours_per_month = 730;
    const double tokens_per_hour = full_per_second * 3'600;
    Cost out;
    out.hour = prices.hour + prices.watts / 1'000 * prices.kilowatt_hour;
    out.million_tokens = out.hour / (tokens_per_hour * prices.utilization) * 1e6;
    out.tokens_per_month_max = tokens_per_hour * hours_per_month;
    if (prices.api_million)
        out.break_even_tokens_per_month = out.hour * hours_per_month / *prices.api_million * 1e6;
    return out;
}

}  // namespace holdfast::plan
