#include "inference/backend/cpu/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "inference/backend/cpu/ops.h"
#include "inference/backend/cpu/packed.h"
#include "inference/backend/cpu/test_values.h"
#include "inference/tensor/float16.h"

namespace holdfast::cpu {
namespace {

using tensor::DataType;

// Runs `compute` on every instruction set; all results must have the bits of the first.
Values on_every_isa(const std::function<Values(Isa)>& compute) {
    Values first;
    for (const Isa isa : isas()) {
        Values result = compute(isa);
        if (first.empty()) first = result;
        EXPECT_TRUE(same_bits(first, result)) << name(isa);
    }
    return first;
}

// Weights of one type as bytes, and the same numbers widened.
struct Weights {
    DataType type;
    std::uint32_t outputs, inputs;
    std::vector<std::byte> bytes;
    Values values;

    Weights(DataType type, std::uint32_t outputs, std::uint32_t inputs)
        : type(type), outputs(outputs), inputs(inputs), values(std::size_t{outputs} * inputs) {
        const std::size_t size = tensor::bytes_of(type, 1);
        bytes.resize(values.size() * size);
        const Values random = noise(values.size(), 1);
        for (std::size_t i = 0; i < values.size(); ++i) {
            const auto bits = std::bit_cast<std::uint32_t>(random[i]);
            const auto upper = static_cast<std::uint16_t>(bits >> 16);
            // As binary16 the upper half is some number too; the mask keeps it finite and near 1.
            const auto half = static_cast<std::uint16_t>(upper & 0xbbffU);
            const std::uint16_t narrow = type == DataType::f16 ? half : upper;
            if (size == 4)
                std::memcpy(bytes.data() + i * size, &bits, size);
            else
                std::memcpy(bytes.data() + i * size, &narrow, size);
        }
        widen(type, bytes.data(), values.size(), values.data());
    }

    PackedMatrix packed(cores::Pool& pool) const {
        auto matrix = PackedMatrix::reserve(type, outputs, inputs);
        EXPECT_TRUE(matrix);
        const std::size_t row_bytes = inputs * tensor::bytes_of(type, 1);
        matrix->fill(pool, [&](std::uint32_t output) {
            return tensor::SourceRow{type, bytes.data() + output * row_bytes};
        });
        return std::move(matrix).value();
    }
};

struct LinearCase {
    DataType type;
    std::uint32_t rows, outputs, inputs, threads;
    Epilogue epilogue = Epilogue::store;
    bool bias = false;
};

Values run_linear(Isa isa, const LinearCase& c, const Weights& weights) {
    auto ops = Ops::make(isa, c.threads, c.rows, c.inputs);
    EXPECT_TRUE(ops);
    const std::size_t in_stride = row_stride(c.inputs);
    Values x(c.rows * in_stride);
    for (std::uint32_t row = 0; row < c.rows; ++row) {
        const Values one = noise(c.inputs, 100 + row);
        std::ranges::copy(one, x.begin() + static_cast<std::ptrdiff_t>(row * in_stride));
    }
    const std::uint32_t columns = c.epilogue == Epilogue::swiglu ? c.outputs / 2 : c.outputs;
    Values y = noise(std::size_t{c.rows} * columns, 3);
    const Values bias = noise(c.outputs, 4);
    (*ops)->linear(weights.packed((*ops)->pool()), {x.data(), in_stride}, c.rows,
                   {{y.data(), columns}, c.epilogue, c.bias ? bias.data() : nullptr});
    return y;
}

// What the contract says, written down: one chain of fused multiply-adds, then the epilogue.
Values expected_linear(const LinearCase& c, const Weights& weights) {
    const Values before = noise(std::size_t{c.rows} * c.outputs, 3), bias = noise(c.outputs, 4);
    Values y(std::size_t{c.rows} * c.outputs);
    for (std::uint32_t row = 0; row < c.rows; ++row) {
        const Values x = noise(c.inputs, 100 + row);
        for (std::uint32_t o = 0; o < c.outputs; ++o) {
            float sum = 0;
            for (std::uint32_t k = 0; k < c.inputs; ++k)
                sum = std::fma(x[k], weights.values[std::size_t{o} * c.inputs + k], sum);
            const std::size_t at = std::size_t{row} * c.outputs + o;
            y[at] = c.epilogue == Epilogue::add ? before[at] + sum : c.bias ? sum + bias[o] : sum;
        }
    }
    return y;
}

TEST(Linear, IsOneChainOfFusedMultiplyAddsPerOutput) {
    for (const DataType type : {DataType::bf16, DataType::f16, DataType::f32}) {
        for (const std::uint32_t outputs : {1, 31, 32, 33, 160}) {
            const Weights weights(type, outputs, 300);
            for (const std::uint32_t rows : {1, 2, 3, 5, 7, 11, 12, 13, 40, 110}) {
                const LinearCase c{type, rows, outputs, 300, 1};
                const Values expected = expected_linear(c, weights);
                for (const Isa isa : isas())
                    ASSERT_TRUE(same_bits(expected, run_linear(isa, c, weights)))
                        << name(isa) << " " << rows << " rows, " << outputs << " outputs";
            }
        }
    }
}

TEST(Linear, AddsTheBiasOrTheResidualAfterTheSum) {
    const Weights weights(DataType::bf16, 70, 64);
    for (const std::uint32_t rows : {1, 9}) {
        for (const LinearCase& c :
             {LinearCase{DataType::bf16, rows, 70, 64, 1, Epilogue::store, true},
              LinearCase{DataType::bf16, rows, 70, 64, 1, Epilogue::add, false}}) {
            const Values expected = expected_linear(c, weights);
            for (const Isa isa : isas())
                EXPECT_TRUE(same_bits(expected, run_linear(isa, c, weights))) << name(isa);
        }
    }
}

TEST(Linear, GivesTheSameBitsOnAnyNumberOfThreads) {
    const Weights weights(DataType::bf16, 1'000, 512);  // large enough to be shared
    for (const std::uint32_t rows : {1, 30}) {
        const Values one = run_linear(Isa::scalar, {DataType::bf16, rows, 1'000, 512, 1}, weights);
        for (const Isa isa : isas())
            for (const std::uint32_t threads : {1, 2, 3, 5})
                EXPECT_TRUE(same_bits(
                    one, run_linear(isa, {DataType::bf16, rows, 1'000, 512, threads}, weights)));
    }
}

TEST(Linear, MultipliesGateAndUpWithSwiglu) {
    const Weights weights(DataType::bf16, 96, 80);  // three panels of 16 gates and 16 ups
    for (const std::uint32_t rows : {1, 14}) {
        const LinearCase plain{DataType::bf16, rows, 96, 80, 1};
        const Values sums = expected_linear(plain, weights);
        LinearCase c = plain;
        c.epilogue = Epilogue::swiglu;
        const Values y = on_every_isa([&](Isa isa) { return run_linear(isa, c, weights); });
        for (std::size_t row = 0; row < rows; ++row)
            for (std::size_t i = 0; i < 48; ++i) {
                const double gate = sums[row * 96 + i / 16 * 32 + i % 16];
                const double up = sums[row * 96 + i / 16 * 32 + 16 + i % 16];
                const double expected = gate / (1 + std::exp(-gate)) * up;
                EXPECT_NEAR(y[row * 48 + i], expected, 1e-6 * std::abs(expected) + 1e-30);
            }
    }
}

TEST(Exponential, StaysWithinTwoUlpOverItsWholeRange) {
    Values x;
    for (float v = -87.0F; v <= 88.0F; v += 0.000917F) x.push_back(v);
    const Values y = on_every_isa([&](Isa isa) {
        Values result(x.size());
        kernels(isa).exponential(x.data(), static_cast<std::uint32_t>(x.size()), result.data());
        return result;
    });
    for (std::size_t i = 0; i < x.size(); ++i) {
        const double expected = std::exp(static_cast<double>(x[i]));
        ASSERT_LT(std::abs(y[i] - expected), 2.4e-7 * expected) << x[i];
    }
}

TEST(Exponential, IsExactAtZeroAndSaturatesOutside) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    const Values x{0.0F, -0.0F, -87.5F, -infinity, -1e30F, 89.0F, infinity};
    const Values y = on_every_isa([&](Isa isa) {
        Values result(x.size());
        kernels(isa).exponential(x.data(), static_cast<std::uint32_t>(x.size()), result.data());
        return result;
    });
    EXPECT_EQ(y[0], 1.0F);
    EXPECT_EQ(y[1], 1.0F);
    for (const int i : {2, 3, 4}) EXPECT_EQ(y[i], 0.0F);
    for (const int i : {5, 6}) EXPECT_TRUE(std::isfinite(y[i]) && y[i] > 1e38F);
}

TEST(RmsNorm, AgreesWithTheFormula) {
    for (const std::uint32_t size : {16, 96, 1'536}) {
        const Values x = noise(size, 1, 3), weight = noise(size, 2);
        const Values y = on_every_isa([&](Isa isa) {
            Values result(size);
            kernels(isa).rms_norm(x.data(), weight.data(), size, 1e-6F, result.data());
            return result;
        });
        double squares = 0;
        for (const float v : x) squares += static_cast<double>(v) * v;
        const double scale = 1 / std::sqrt(squares / size + 1e-6);
        for (std::uint32_t i = 0; i < size; ++i) EXPECT_NEAR(y[i], x[i] * scale * weight[i], 1e-6);
    }
}

TEST(PackedMatrix, GivesBackTheWeightsOfAnOutput) {
    auto pool = cores::Pool::make(1);
    for (const DataType type : {DataType::bf16, DataType::f16, DataType::f32}) {
        const Weights weights(type, 45, 70);
        const PackedMatrix packed = weights.packed(**pool);
        for (std::uint32_t output = 0; output < 45; ++output) {
            Values row(70);
            packed.copy_output(output, row.data());
            const auto* const from = weights.values.data() + std::size_t{output} * 70;
            EXPECT_TRUE(same_bits(row, Values(from, from + 70)));
        }
    }
}

TEST(Float16, WidensEveryNumberExactly) {
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
        const auto narrow = static_cast<std::uint16_t>(bits);
        const float wide = tensor::load_f16(reinterpret_cast<const std::byte*>(&narrow));
        const int exponent = bits >> 10 & 31;
        const double fraction = bits & 1'023;
        const double magnitude =
            exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(fraction + 1'024, exponent - 25);
        if (exponent == 31)
            EXPECT_EQ(std::isnan(wide), fraction != 0) << bits;
        else
            EXPECT_EQ(static_cast<double>(wide), bits >> 15 ? -magnitude : magnitude) << bits;
    }
}

}  // namespace
}  // namespace holdfast::cpu
