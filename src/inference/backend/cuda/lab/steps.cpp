// Whole decoder steps of the shape of R1-Distill-Qwen-1.5B with random weights.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "inference/backend/cuda/decoder.h"
#include "inference/backend/cuda/lab/lab.h"

namespace holdfast::cuda::lab {
namespace {

const DecoderShape shape{.layers = 28,
                         .hidden = 1536,
                         .heads = 12,
                         .kv_heads = 2,
                         .head_dim = 128,
                         .ffn = 8960,
                         .vocab = 151'936,
                         .positions = 4096,
                         .epsilon = 1e-6F,
                         .bias = true};

template <class T>
T require(base::Result<T> result) {
    if (result) return std::move(*result);
    fmt::print("{}\n", result.error().what);
    std::exit(1);
}

void require(const base::Result<>& result) {
    if (result) return;
    fmt::print("{}\n", result.error().what);
    std::exit(1);
}

// The same 64 MB of weights over and over: what is computed does not matter here.
class Weights {
public:
    Weights() : bits_(32 << 20) {
        std::uint64_t state = 1;
        for (std::uint16_t& value : bits_) {
            state = state * 6364136223846793005 + 1442695040888963407;
            // Between 2^-6 and 2^-5, of either sign.
            value = static_cast<std::uint16_t>(0x3c80 | (state >> 40 & 0x807f));
        }
    }

    void upload(Decoder& decoder, Matrix matrix, std::uint32_t layer, std::uint32_t rows,
                std::uint32_t inputs) const {
        const auto piece = static_cast<std::uint32_t>(bits_.size() / inputs);
        for (std::uint32_t row = 0; row < rows; row += piece)
            require(decoder.upload(
                matrix, layer, row,
                std::span(bits_).first(std::size_t{std::min(piece, rows - row)} * inputs)));
    }

private:
    std::vector<std::uint16_t> bits_;
};

void upload_all(Decoder& decoder) {
    const Weights weights;
    const std::vector<float> ones(shape.hidden, 1.0F), turns(shape.head_dim, 0.5F);
    for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
        weights.upload(decoder, Matrix::query, layer, 1536, 1536);
        weights.upload(decoder, Matrix::key, layer, 256, 1536);
        weights.upload(decoder, Matrix::value, layer, 256, 1536);
        weights.upload(decoder, Matrix::output, layer, 1536, 1536);
        weights.upload(decoder, Matrix::gate, layer, 8960, 1536);
        weights.upload(decoder, Matrix::up, layer, 8960, 1536);
        weights.upload(decoder, Matrix::down, layer, 1536, 8960);
        require(decoder.upload(Vector::attention_norm, layer, ones));
        require(decoder.upload(Vector::ffn_norm, layer, ones));
    }
    require(decoder.upload(Vector::last_norm, 0, ones));
    weights.upload(decoder, Matrix::embedding, 0, shape.vocab, 1536);
    weights.upload(decoder, Matrix::head, 0, shape.vocab, 1536);
    for (std::uint32_t position = 0; position < shape.positions; ++position)
        require(decoder.upload_rotary(position, turns));
}

// Median milliseconds of a step of `sequences` slices of `tokens`, the last of which stands at
// `depth`.
double step_ms(Decoder& decoder, std::uint32_t sequences, std::uint32_t tokens,
               std::uint32_t depth) {
    const std::vector<std::int32_t> ids(tokens, 17);
    const std::uint32_t blocks = depth / 16 + 1;
    std::vector<std::uint32_t> tables(std::size_t{sequences} * blocks);
    std::iota(tables.begin(), tables.end(), 0);
    std::vector<Slice> slices;
    for (std::uint32_t i = 0; i < sequences; ++i)
        slices.push_back({ids, depth + 1 - tokens,
                          std::span(tables).subspan(std::size_t{i} * blocks, blocks), 1});
    std::vector<double> times;
    for (int round = 0; round < 40; ++round) {
        const auto begin = std::chrono::steady_clock::now();
        require(decoder.forward(slices));
        const std::chrono::duration<double, std::milli> taken =
            std::chrono::steady_clock::now() - begin;
        if (round > 0) times.push_back(taken.count());
    }
    std::ranges::sort(times);
    return times[times.size() / 2];
}

}  // namespace

void steps() {
    Decoder decoder = require(Decoder::reserve(
        shape, {.tokens = 4096, .logits = 256, .slices = 256, .blocks = 256 * 70}));
    upload_all(decoder);
    for (const bool graphs : {false, true}) {
        if (graphs) require(decoder.prepare());
        for (const std::uint32_t sequences : {1u, 2u, 4u, 8u, 64u, 256u})
            for (const std::uint32_t depth : {16u, 960u, 1088u}) {
                if (graphs && sequences > 8) continue;
                const double ms = step_ms(decoder, sequences, 1, depth);
                fmt::print("  decode {:3} sequences at {:5}{}: {:8.3f} ms, {:8.0f} tokens/s\n",
                           sequences, depth, graphs ? ", graph" : "       ", ms,
                           sequences * 1000 / ms);
            }
    }
    for (const std::uint32_t tokens : {512u, 2048u}) {
        const double ms = step_ms(decoder, 1, tokens, tokens - 1);
        fmt::print("  prefill {:4} tokens: {:8.3f} ms, {:8.0f} tokens/s\n", tokens, ms,
                   tokens * 1000 / ms);
    }
}

}  // namespace holdfast::cuda::lab
