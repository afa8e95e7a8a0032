// Native numerics: bf16 dot products and AMX. Their contract is among processors that have them.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "common/base/random.h"
#include "inference/backend/cpu/kernels.h"
#include "inference/backend/cpu/ops.h"
#include "inference/backend/cpu/packed.h"

namespace holdfast::cpu {
namespace {

using tensor::DataType;
using Values = std::vector<float>;

// To nearest even, as tensors are rounded to bf16. `value` is an ordinary number.
std::uint16_t bf16_of(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1)) >> 16);
}
float widened(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

class NativeLinear : public ::testing::TestWithParam<Numerics> {
protected:
    void SetUp() override {
        if (!has_numerics(GetParam()))
            GTEST_SKIP() << "not on this processor: " << name(GetParam());
    }

    static constexpr std::uint32_t outputs = 1'000;

    void make_weights(std::uint32_t inputs) {
        inputs_ = inputs;
        weights_.resize(std::size_t{outputs} * inputs);
        for (std::size_t i = 0; i < weights_.size(); ++i)
            weights_[i] = bf16_of(2 * base::uniform(29, 1, i) - 1);
    }

    float x(std::uint32_t row, std::size_t k) const {
        return 2 * base::uniform(29, 100 + row, k) - 1;
    }

    PackedMatrix packed(cores::Pool& pool) const {
        auto matrix = PackedMatrix::reserve(DataType::bf16, outputs, inputs_, GetParam());
        EXPECT_TRUE(matrix);
        matrix->fill(pool, [&](std::uint32_t output) {
            const auto* const row = weights_.data() + std::size_t{output} * inputs_;
            return tensor::SourceRow{DataType::bf16, reinterpret_cast<const std::byte*>(row)};
        });
        return std::move(matrix).value();
    }

    // Rows [first, first + rows).
    Values run(std::uint32_t first, std::uint32_t rows, std::uint32_t threads = 1,
               Epilogue epilogue = Epilogue::store) const {
        auto ops = Ops::make(Isa::vnni, threads, rows, inputs_);
        EXPECT_TRUE(ops);
        const std::size_t stride = row_stride(inputs_);
        Values in(rows * stride);
        for (std::uint32_t row = 0; row < rows; ++row)
            for (std::size_t k = 0; k < inputs_; ++k) in[row * stride + k] = x(first + row, k);
        Values y(std::size_t{rows} * outputs, 0.25F);
        (*ops)->linear(packed((*ops)->pool()), {in.data(), stride}, rows,
                       {{y.data(), outputs}, epilogue});
        return y;
    }

    std::uint32_t inputs_ = 0;
    std::vector<std::uint16_t> weights_;
};

TEST_P(NativeLinear, MultipliesRoundedActivationsWithTheWeights) {
    for (const std::uint32_t inputs : {2U, 30U, 512U}) {
        make_weights(inputs);
        const Values y = run(0, 13), added = run(0, 13, 1, Epilogue::add);
        for (std::uint32_t row = 0; row < 13; ++row)
            for (std::size_t output = 0; output < outputs; ++output) {
                double sum = 0, magnitude = 0;
                for (std::size_t k = 0; k < inputs; ++k) {
                    const double product = static_cast<double>(widened(bf16_of(x(row, k)))) *
                                           widened(weights_[output * inputs + k]);
                    sum += product;
                    magnitude += std::abs(product);
                }
                const std::size_t at = row * std::size_t{outputs} + output;
                ASSERT_NEAR(y[at], sum, 1e-6 * magnitude) << inputs;
                ASSERT_EQ(added[at], 0.25F + y[at]);
            }
    }
}

TEST_P(NativeLinear, GivesARowTheSameBitsInEveryBatchOnAnyNumberOfThreads) {
    make_weights(300);
    const Values all = run(0, 40);
    for (std::uint32_t rows = 1; rows <= 40; ++rows) {
        const Values part = run(40 - rows, rows, 1 + rows % 3);
        const float* const same = all.data() + (40 - rows) * std::size_t{outputs};
        ASSERT_EQ(std::memcmp(part.data(), same, part.size() * sizeof(float)), 0) << rows;
    }
}

TEST_P(NativeLinear, GivesBackTheWeightsOfAnOutput) {
    make_weights(70);
    auto pool = cores::Pool::make(1);
    const PackedMatrix matrix = packed(**pool);
    EXPECT_EQ(matrix.numerics(), GetParam());
    for (const std::uint32_t output : {0U, 31U, 32U, 999U}) {
        Values row(70);
        matrix.copy_output(output, row.data());
        for (std::size_t k = 0; k < 70; ++k)
            EXPECT_EQ(row[k], widened(weights_[std::size_t{output} * 70 + k]));
    }
}

TEST_P(NativeLinear, RefusesAnOddNumberOfInputs) {
    const auto refused = PackedMatrix::reserve(DataType::bf16, 32, 33, GetParam());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, base::Code::invalid);
}

TEST_P(NativeLinear, ChangesNoOtherType) {
    for (const DataType type : {DataType::f16, DataType::f32, DataType::q8_0, DataType::q6_k}) {
        const auto matrix = PackedMatrix::reserve(type, 32, 256, GetParam());
        ASSERT_TRUE(matrix);
        EXPECT_EQ(matrix->numerics(), Numerics::portable);
    }
}

INSTANTIATE_TEST_SUITE_P(All, NativeLinear, ::testing::Values(Numerics::bf16dot, Numerics::amx),
                         [](const auto& test) {
                             return test.param == Numerics::amx ? "Amx" : "Bf16Dot";
                         });

}  // namespace
}  // namespace holdfast::cpu
