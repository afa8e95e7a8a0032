// Linear layers with quantized weights, against the formulas of kernels.h written down plainly.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "common/base/random.h"
#include "inference/backend/cpu/kernels.h"
#include "inference/backend/cpu/ops.h"
#include "inference/backend/cpu/packed.h"
#include "inference/backend/cpu/test_values.h"
#include "inference/tensor/float16.h"
#include "inference/tensor/quantize.h"

namespace holdfast::cpu {
namespace {

using tensor::DataType;

constexpr DataType types[] = {DataType::q8_0, DataType::q4_0, DataType::q4_k, DataType::q5_k,
                              DataType::q6_k};

int whole(std::uint32_t stream, std::uint64_t index, int from, int to) {  // in [from, to]
    const float share = base::uniform(13, stream, index);
    return std::min(to, from + static_cast<int>(share * static_cast<float>(to - from + 1)));
}

// What 32 neighbouring weights are made of.
struct Parts {
    int quants[32];  // as stored, without offset
    std::uint16_t d, minimum_d;
    int factors[2];  // of inputs 0..15 and 16..31
    int minimum_factor;
};

int quant_offset(DataType type) {
    return type == DataType::q4_0 ? 8 : type == DataType::q6_k ? 32 : 0;
}
bool is_k(DataType type) { return tensor::traits(type).block_elements == 256; }
bool has_minima(DataType type) { return type == DataType::q4_k || type == DataType::q5_k; }

struct Range {
    int low, high;
};
Range quant_range(DataType type) {
    switch (type) {
        case DataType::q8_0:
            return {-128, 127};
        case DataType::q5_k:
            return {0, 31};
        case DataType::q6_k:
            return {0, 63};
        default:
            return {0, 15};
    }
}
Range factor_range(DataType type) {
    return type == DataType::q6_k ? Range{-128, 127}
           : has_minima(type)     ? Range{0, 63}
                                  : Range{1, 1};
}

// How the numbers of a matrix are drawn.
enum class Draw { random, lowest, highest, zero, huge_scale, tiny_scale };
constexpr Draw draws[] = {Draw::random, Draw::lowest,     Draw::highest,
                          Draw::zero,   Draw::huge_scale, Draw::tiny_scale};

class QuantWeights {
public:
    QuantWeights(DataType type, std::uint32_t outputs, std::uint32_t inputs,
                 Draw draw = Draw::random)
        : type_(type), outputs_(outputs), inputs_(inputs) {
        const Range quants = quant_range(type), factors = factor_range(type);
        const auto pick = [&](std::uint32_t stream, std::size_t index, Range range) {
            if (draw == Draw::lowest) return range.low;
            if (draw == Draw::highest) return range.high;
            return whole(stream, index, range.low, range.high);
        };
        const auto scale = [&](std::uint32_t stream, std::size_t index) -> std::uint16_t {
            if (draw == Draw::zero) return 0;
            if (draw == Draw::huge_scale) return index % 2 == 0 ? 0x7bff : 0xfbff;
            if (draw == Draw::tiny_scale) return static_cast<std::uint16_t>(index % 5);
            return static_cast<std::uint16_t>(whole(stream, index, 0x1c00, 0x2fff));  // 0.004..0.12
        };
        const std::size_t group = is_k(type) ? 8 : 1;
        parts_.resize(std::size_t{outputs} * inputs / 32);
        for (std::size_t i = 0; i < parts_.size(); ++i) {
            Parts& parts = parts_[i];
            for (std::size_t k = 0; k < 32; ++k) parts.quants[k] = pick(1, i * 32 + k, quants);
            parts.d = scale(2, i / group);
            parts.minimum_d = scale(3, i / group);
            parts.factors[0] = pick(4, i, factors);
            parts.factors[1] = type == DataType::q6_k ? pick(5, i, factors) : parts.factors[0];
            parts.minimum_factor = pick(6, i, factors);
        }
        encode();
    }

    DataType type() const { return type_; }
    std::uint32_t outputs() const { return outputs_; }
    std::uint32_t inputs() const { return inputs_; }
    const Parts& parts(std::size_t output, std::size_t block) const {
        return parts_[output * (inputs_ / 32) + block];
    }
    const std::byte* row(std::size_t output) const {
        return bytes_.data() + output * tensor::bytes_of(type_, inputs_);
    }

    float value(std::size_t output, std::size_t input) const {
        const Parts& p = parts(output, input / 32);
        const auto quant = static_cast<float>(p.quants[input % 32] - quant_offset(type_));
        const std::size_t half = input % 32 / 16;
        const float d = tensor::f16_to_float(p.d) * static_cast<float>(p.factors[half]);
        if (!has_minima(type_)) return d * quant;
        return d * quant - tensor::f16_to_float(p.minimum_d) * static_cast<float>(p.minimum_factor);
    }

    PackedMatrix packed(cores::Pool& pool) const {
        auto matrix = PackedMatrix::reserve(type_, outputs_, inputs_);
        EXPECT_TRUE(matrix);
        matrix->fill(pool,
                     [&](std::uint32_t output) { return tensor::SourceRow{type_, row(output)}; });
        return std::move(matrix).value();
    }

private:
    // The formats as ggml-common.h and ggml-quants.c of ggml define them.
    void encode() {
        bytes_.resize(outputs_ * tensor::bytes_of(type_, inputs_));
        auto* to = reinterpret_cast<std::uint8_t*>(bytes_.data());
        for (std::size_t i = 0; i < parts_.size(); i += is_k(type_) ? 8 : 1) {
            const Parts* const p = parts_.data() + i;
            if (type_ == DataType::q8_0) encode_q8_0(*p, to);
            if (type_ == DataType::q4_0) encode_q4_0(*p, to);
            if (has_minima(type_)) encode_q4_or_5_k(p, to);
            if (type_ == DataType::q6_k) encode_q6_k(p, to);
            to += tensor::traits(type_).block_bytes;
        }
    }

    static void encode_q8_0(const Parts& p, std::uint8_t* to) {
        std::memcpy(to, &p.d, 2);
        for (int k = 0; k < 32; ++k) to[2 + k] = static_cast<std::uint8_t>(p.quants[k]);
    }

    static void encode_q4_0(const Parts& p, std::uint8_t* to) {
        std::memcpy(to, &p.d, 2);
        for (int k = 0; k < 16; ++k)
            to[2 + k] = static_cast<std::uint8_t>(p.quants[k] | p.quants[k + 16] << 4);
    }

    void encode_q4_or_5_k(const Parts* p, std::uint8_t* to) const {
        std::memcpy(to, &p->d, 2);
        std::memcpy(to + 2, &p->minimum_d, 2);
        std::uint8_t* const factors = to + 4;
        for (int j = 0; j < 8; ++j) {
            const auto scale = static_cast<std::uint8_t>(p[j].factors[0]);
            const auto minimum = static_cast<std::uint8_t>(p[j].minimum_factor);
            if (j < 4) {
                factors[j] |= scale;
                factors[j + 4] |= minimum;
            } else {
                factors[j + 4] = static_cast<std::uint8_t>((scale & 0xf) | (minimum & 0xf) << 4);
                factors[j - 4] |= static_cast<std::uint8_t>(scale >> 4 << 6);
                factors[j] |= static_cast<std::uint8_t>(minimum >> 4 << 6);
            }
        }
        std::uint8_t* const high = to + 16;
        std::uint8_t* const low = high + (type_ == DataType::q5_k ? 32 : 0);
        for (int j = 0; j < 8; ++j)
            for (int k = 0; k < 32; ++k) {
                const int quant = p[j].quants[k];
                low[j / 2 * 32 + k] |= static_cast<std::uint8_t>((quant & 0xf) << (j % 2 * 4));
                if (quant > 15) high[k] |= static_cast<std::uint8_t>(1 << j);
            }
    }

    static void encode_q6_k(const Parts* p, std::uint8_t* to) {
        const auto quant = [&](int element) {
            return static_cast<unsigned>(p[element / 32].quants[element % 32]);
        };
        for (int half = 0; half < 2; ++half)
            for (int l = 0; l < 32; ++l) {
                const unsigned q1 = quant(half * 128 + l), q2 = quant(half * 128 + l + 32),
                               q3 = quant(half * 128 + l + 64), q4 = quant(half * 128 + l + 96);
                to[half * 64 + l] = static_cast<std::uint8_t>((q1 & 0xf) | (q3 & 0xf) << 4);
                to[half * 64 + 32 + l] = static_cast<std::uint8_t>((q2 & 0xf) | (q4 & 0xf) << 4);
                to[128 + half * 32 + l] =
                    static_cast<std::uint8_t>(q1 >> 4 | q2 >> 4 << 2 | q3 >> 4 << 4 | q4 >> 4 << 6);
            }
        for (int i = 0; i < 16; ++i)
            to[192 + i] = static_cast<std::uint8_t>(p[i / 2].factors[i % 2]);
        std::memcpy(to + 208, &p->d, 2);
    }

    DataType type_;
    std::uint32_t outputs_, inputs_;
    std::vector<Parts> parts_;
    std::vector<std::byte> bytes_;
};

// Activations of any size, with some blocks of zeros, outliers and numbers near the smallest.
Values activations(std::uint32_t row, std::uint32_t inputs, float scale = 1) {
    Values x(inputs);
    for (std::uint32_t i = 0; i < inputs; ++i) {
        x[i] = scale * (2 * base::uniform(17, row, i) - 1);
        const std::uint32_t kind = (row * 5 + i / 32) % 7;
        if (kind == 3) x[i] = 0;
        if (kind == 4 && i % 32 == 9) x[i] *= 300;
        if (kind == 5) x[i] *= 1e-38F;
        if (kind == 6 && row % 2 == 0) x[i] = i % 3 == 0 ? -scale : scale;
    }
    return x;
}

struct QuantRow {
    std::vector<int> quants;
    Values scales;  // of each group
};

// Neighbouring inputs that share a scale.
std::size_t group_inputs(DataType type) {
    return type == DataType::q8_0 || type == DataType::q6_k ? 32 : 256;
}

QuantRow quantized(DataType type, const Values& x) {
    QuantRow row{std::vector<int>(x.size()), {}};
    for (std::size_t begin = 0; begin < x.size(); begin += group_inputs(type)) {
        const std::size_t end = std::min(x.size(), begin + group_inputs(type));
        float largest = 0;
        for (std::size_t k = begin; k < end; ++k) largest = std::max(largest, std::abs(x[k]));
        row.scales.push_back(largest / 127);
        if (largest <= 0x1p-120F) continue;
        const float inverse = 127 / largest;
        for (std::size_t k = begin; k < end; ++k)
            row.quants[k] = static_cast<int>(std::nearbyint(static_cast<double>(x[k]) * inverse));
    }
    return row;
}

// The chain of kernels.h.
float chain(const QuantWeights& weights, std::size_t output, const QuantRow& x) {
    const std::size_t blocks = x.quants.size() / 32, group = group_inputs(weights.type()) / 32;
    float total = 0, partial = 0;
    for (std::size_t b = 0; b < blocks; ++b) {
        const Parts& p = weights.parts(output, b);
        int dots[2] = {}, sum = 0;
        for (std::size_t k = 0; k < 32; ++k) {
            const int quant = x.quants[b * 32 + k];
            dots[k / 16] += (p.quants[k] - quant_offset(weights.type())) * quant;
            sum += quant;
        }
        const float d = tensor::f16_to_float(p.d);
        const auto scale = [&](int part) { return d * static_cast<float>(p.factors[part]); };
        const bool halves = weights.type() == DataType::q6_k;
        const auto dot = static_cast<float>(halves ? dots[0] : dots[0] + dots[1]);
        partial = b % group == 0 ? dot * scale(0) : std::fma(dot, scale(0), partial);
        if (halves) partial = std::fma(static_cast<float>(dots[1]), scale(1), partial);
        if (has_minima(weights.type())) {
            const float minimum =
                tensor::f16_to_float(p.minimum_d) * static_cast<float>(p.minimum_factor);
            partial = std::fma(-minimum, static_cast<float>(sum), partial);
        }
        if (b % group == group - 1 || b + 1 == blocks)
            total = std::fma(partial, x.scales[b / group], total);
    }
    return total;
}

Values expected(const QuantWeights& weights, std::uint32_t rows, float scale = 1) {
    Values y;
    for (std::uint32_t row = 0; row < rows; ++row) {
        const QuantRow x = quantized(weights.type(), activations(row, weights.inputs(), scale));
        for (std::size_t output = 0; output < weights.outputs(); ++output)
            y.push_back(chain(weights, output, x));
    }
    return y;
}

struct RunOptions {
    std::uint32_t threads = 1;
    float scale = 1;
    Epilogue epilogue = Epilogue::store;
    const float* bias = nullptr;
    std::uint32_t first_row = 0;
};

Values run(Isa isa, const QuantWeights& weights, std::uint32_t rows,
           const RunOptions& options = {}) {
    auto ops = Ops::make(isa, options.threads, rows, weights.inputs());
    EXPECT_TRUE(ops);
    const std::size_t stride = row_stride(weights.inputs());
    Values x(rows * stride);
    for (std::uint32_t row = 0; row < rows; ++row)
        std::ranges::copy(activations(options.first_row + row, weights.inputs(), options.scale),
                          x.begin() + static_cast<std::ptrdiff_t>(row * stride));
    const std::uint32_t columns =
        options.epilogue == Epilogue::swiglu ? weights.outputs() / 2 : weights.outputs();
    Values y(std::size_t{rows} * columns, 0.25F);
    (*ops)->linear(weights.packed((*ops)->pool()), {x.data(), stride}, rows,
                   {{y.data(), columns}, options.epilogue, options.bias});
    return y;
}

TEST(QuantizedLinear, IsTheDocumentedChainForEveryTypeAndShape) {
    for (const DataType type : types)
        for (const std::uint32_t outputs : {1, 31, 32, 33, 160}) {
            const QuantWeights weights(type, outputs, 512);
            for (const std::uint32_t rows : {1, 2, 3, 4, 5, 8, 11, 13, 40, 110}) {
                const Values wanted = expected(weights, rows);
                for (const Isa isa : isas())
                    ASSERT_TRUE(same_bits(wanted, run(isa, weights, rows)))
                        << name(type) << " " << name(isa) << " " << rows << " rows, " << outputs
                        << " outputs";
            }
        }
}

TEST(QuantizedLinear, IsTheDocumentedChainWhenTheLastGroupOfActivationsIsShorter) {
    for (const DataType type : {DataType::q4_0, DataType::q8_0})
        for (const std::uint32_t inputs : {32, 288, 352}) {
            const QuantWeights weights(type, 33, inputs);
            for (const std::uint32_t rows : {1, 2, 7, 50}) {
                const Values wanted = expected(weights, rows);
                for (const Isa isa : isas())
                    ASSERT_TRUE(same_bits(wanted, run(isa, weights, rows)))
                        << name(type) << " " << name(isa) << " " << rows << " rows, " << inputs
                        << " inputs";
            }
        }
}

TEST(QuantizedLinear, TakesAnyWholeNumberOfBlocks) {
    for (const DataType type : types)
        for (const std::uint32_t blocks : {1, 3}) {
            const QuantWeights weights(type, 32, tensor::traits(type).block_elements * blocks);
            const Values wanted = expected(weights, 5);
            for (const Isa isa : isas())
                ASSERT_TRUE(same_bits(wanted, run(isa, weights, 5))) << name(type) << name(isa);
        }
}

TEST(QuantizedLinear, KeepsItsBitsAtTheLimitsOfAllNumbers) {
    for (const DataType type : types)
        for (const Draw draw : draws)
            for (const float scale : {1.0F, 1e-30F, 1e25F}) {
                const QuantWeights weights(type, 40, 512, draw);
                const Values wanted = expected(weights, 6, scale);
                for (const Isa isa : isas())
                    ASSERT_TRUE(same_bits(wanted, run(isa, weights, 6, {.scale = scale})))
                        << name(type) << " " << name(isa) << " draw " << static_cast<int>(draw)
                        << " scale " << scale;
            }
}

TEST(QuantizedLinear, GivesARowTheSameBitsInEveryBatch) {
    for (const DataType type : types) {
        const QuantWeights weights(type, 64, 256);
        const Values all = expected(weights, 40);
        for (const Isa isa : isas())
            for (std::uint32_t rows = 1; rows <= 40; ++rows) {
                const Values part = run(isa, weights, rows, {.first_row = 40 - rows});
                const Values same(all.end() - static_cast<std::ptrdiff_t>(part.size()), all.end());
                ASSERT_TRUE(same_bits(same, part)) << name(type) << name(isa) << rows;
            }
    }
}

TEST(QuantizedLinear, GivesTheSameBitsOnAnyNumberOfThreads) {
    for (const DataType type : types) {
        const QuantWeights weights(type, 1'000, 512);  // large enough to be shared
        for (const std::uint32_t rows : {1, 30}) {
            const Values one = run(isas().back(), weights, rows);
            for (const std::uint32_t threads : {2, 3, 5})
                EXPECT_TRUE(same_bits(one, run(isas().back(), weights, rows, {.threads = threads})))
                    << name(type) << threads;
        }
    }
}

// Half a quant of every activation is the whole error, beside float32 rounding.
TEST(QuantizedLinear, StaysWithinHalfAQuantOfEachActivation) {
    for (const DataType type : types) {
        const QuantWeights weights(type, 33, 1'024);
        const Values y = run(isas().back(), weights, 9);
        for (std::uint32_t row = 0; row < 9; ++row) {
            const Values x = activations(row, 1'024);
            const QuantRow quants = quantized(type, x);
            for (std::size_t output = 0; output < 33; ++output) {
                double sum = 0, bound = 0;
                for (std::size_t k = 0; k < 1'024; ++k) {
                    const double weight = weights.value(output, k);
                    sum += weight * x[k];
                    bound += std::abs(weight) * (0.5001 * quants.scales[k / group_inputs(type)] +
                                                 1e-5 * std::abs(static_cast<double>(x[k])));
                }
                ASSERT_NEAR(y[std::size_t{row} * 33 + output], sum, bound) << name(type);
            }
        }
    }
}

TEST(QuantizedLinear, AddsTheBiasOrTheResidualAfterTheSum) {
    Values bias(70);
    for (std::size_t i = 0; i < 70; ++i) bias[i] = base::uniform(19, 1, i);
    for (const DataType type : types) {
        const QuantWeights weights(type, 70, 256);
        Values with_bias = expected(weights, 9), added = with_bias;
        for (std::size_t i = 0; i < added.size(); ++i) {
            with_bias[i] += bias[i % 70];
            added[i] += 0.25F;
        }
        for (const Isa isa : isas()) {
            EXPECT_TRUE(same_bits(with_bias, run(isa, weights, 9, {.bias = bias.data()})));
            EXPECT_TRUE(same_bits(added, run(isa, weights, 9, {.epilogue = Epilogue::add})));
        }
    }
}

TEST(QuantizedLinear, MultipliesGateAndUpWithSwiglu) {
    for (const DataType type : types) {
        const QuantWeights weights(type, 96, 256);  // three panels of 16 gates and 16 ups
        const Values sums = expected(weights, 7);
        const Values first = run(Isa::scalar, weights, 7, {.epilogue = Epilogue::swiglu});
        for (const Isa isa : isas())
            EXPECT_TRUE(same_bits(first, run(isa, weights, 7, {.epilogue = Epilogue::swiglu})));
        for (std::size_t row = 0; row < 7; ++row)
            for (std::size_t i = 0; i < 48; ++i) {
                const double gate = sums[row * 96 + i / 16 * 32 + i % 16];
                const double up = sums[row * 96 + i / 16 * 32 + 16 + i % 16];
                const double product = gate / (1 + std::exp(-gate)) * up;
                ASSERT_NEAR(first[row * 48 + i], product,
                            1e-6 * std::abs(product) + 1e-37 * std::abs(gate * up));
            }
    }
}

TEST(QuantizedMatrix, GivesBackTheWeightsOfAnOutputAsDequantizeDoes) {
    auto pool = cores::Pool::make(1);
    for (const DataType type : types)
        for (const Draw draw : draws) {
            const QuantWeights weights(type, 45, 512, draw);
            const PackedMatrix packed = weights.packed(**pool);
            for (std::uint32_t output = 0; output < 45; ++output) {
                Values row(512), wanted(512);
                packed.copy_output(output, row.data());
                for (std::size_t k = 0; k < 512; ++k) wanted[k] = weights.value(output, k);
                ASSERT_TRUE(same_bits(wanted, row)) << name(type);
                tensor::dequantize(type, weights.row(output), wanted);
                ASSERT_TRUE(same_bits(wanted, row)) << name(type);
            }
        }
}

TEST(QuantizedMatrix, TakesLittleMoreMemoryThanTheFile) {
    for (const DataType type : types) {
        const std::size_t file = 1'536 * tensor::bytes_of(type, 8'960);
        const std::size_t memory = PackedMatrix::needed_bytes(type, 1'536, 8'960);
        EXPECT_GE(memory, file);
        EXPECT_LE(memory, file + file / 32) << name(type);
    }
}

TEST(QuantizedMatrix, ConvertsRowsWhileItIsFilled) {
    auto pool = cores::Pool::make(2);
    std::vector<float> numbers(std::size_t{70} * 512);
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = base::uniform(23, 1, i) - 0.5F;
    const auto row = [&](std::uint32_t output) {
        return tensor::SourceRow{DataType::f32, reinterpret_cast<const std::byte*>(
                                                    numbers.data() + std::size_t{output} * 512)};
    };
    for (const DataType type : types) {
        auto matrix = PackedMatrix::reserve(type, 70, 512);
        ASSERT_TRUE(matrix);
        matrix->fill(**pool, row);
        std::vector<std::byte> bytes(tensor::bytes_of(type, 512));
        for (std::uint32_t output = 0; output < 70; ++output) {
            Values wanted(512), kept(512);
            tensor::quantize(type, std::span(numbers).subspan(std::size_t{output} * 512, 512),
                             bytes.data());
            tensor::dequantize(type, bytes.data(), wanted);
            matrix->copy_output(output, kept.data());
            ASSERT_TRUE(same_bits(wanted, kept)) << name(type);
        }
    }
}

TEST(QuantizedMatrix, KeepsRowsOfItsOwnTypeBesideConvertedOnes) {
    auto pool = cores::Pool::make(1);
    const QuantWeights weights(DataType::q8_0, 40, 256);
    const Values numbers(256, 0.5F);
    auto matrix = PackedMatrix::reserve(DataType::q8_0, 40, 256);
    ASSERT_TRUE(matrix);
    matrix->fill(**pool, [&](std::uint32_t output) {
        if (output % 2 == 0) return tensor::SourceRow{DataType::q8_0, weights.row(output)};
        return tensor::SourceRow{DataType::f32, reinterpret_cast<const std::byte*>(numbers.data())};
    });
    for (std::uint32_t output = 0; output < 40; ++output) {
        Values kept(256);
        matrix->copy_output(output, kept.data());
        for (std::size_t k = 0; k < 256; ++k)
            ASSERT_NEAR(kept[k], output % 2 == 0 ? weights.value(output, k) : 0.5F, 3e-4);
    }
}

TEST(QuantizedMatrix, RefusesInputsThatAreNotWholeBlocks) {
    for (const DataType type : types) {
        const std::uint32_t block = tensor::traits(type).block_elements;
        for (const std::uint32_t inputs : {block - 1, block + block / 2, 2 * block + 1}) {
            const auto refused = PackedMatrix::reserve(type, 32, inputs);
            ASSERT_FALSE(refused);
            EXPECT_EQ(refused.error().code, base::Code::invalid);
            EXPECT_NE(refused.error().what.find(name(type)), std::string::npos);
        }
    }
}

}  // namespace
}  // namespace holdfast::cpu
