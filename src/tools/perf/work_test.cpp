#include "tools/perf/work.h"

#include <gtest/gtest.h>

#include "inference/model/random.h"
#include "tools/perf/file_weights.h"

namespace holdfast::perf {
namespace {

using tensor::DataType;

const auto here = model::processor();

tensor::Config shape(std::string_view name) { return *model::find_shape(name); }

TEST(Work, CountsTheParametersOfTheDistills) {
    // Layers of 46,797,824; two tables of 151,936 rows; the last norm.
    EXPECT_EQ(parameters(shape("r1-1.5b")), 28 * 46'797'824ULL + 2 * 233'373'696ULL + 1'536);
    EXPECT_EQ(parameters(shape("r1-1.5b")), 1'777'088'000ULL);
    EXPECT_NEAR(static_cast<double>(parameters(shape("r1-7b"))), 7.616e9, 1e6);
    EXPECT_NEAR(static_cast<double>(parameters(shape("r1-14b"))), 14.770e9, 1e6);
    EXPECT_NEAR(static_cast<double>(parameters(shape("r1-32b"))), 32.764e9, 1e6);
    EXPECT_NEAR(static_cast<double>(parameters(shape("r1-llama-8b"))), 8.030e9, 1e6);
    EXPECT_NEAR(static_cast<double>(parameters(shape("r1-llama-70b"))), 70.554e9, 1e6);
}

TEST(Work, KnowsWhatKeysAndValuesTake) {
    const auto bf16 = [](std::string_view name) {
        return kv_bytes_per_token(*here, shape(name), tensor::KvType::bf16);
    };
    EXPECT_NEAR(bf16("r1-1.5b"), 28'672, 30);  // 28 layers * 2 * 2 heads * 128 * 2 bytes
    EXPECT_NEAR(bf16("r1-7b"), 57'344, 60);
    EXPECT_NEAR(bf16("r1-14b"), 196'608, 200);
    EXPECT_NEAR(bf16("r1-32b"), 262'144, 300);
    EXPECT_NEAR(bf16("r1-llama-8b"), 131'072, 200);
    EXPECT_NEAR(bf16("r1-llama-70b"), 327'680, 400);
    EXPECT_NEAR(kv_bytes_per_token(*here, shape("r1-1.5b"), tensor::KvType::f32), 57'344, 60);
    // A float32 scale for each 128 numbers of 8 bits.
    EXPECT_NEAR(kv_bytes_per_token(*here, shape("r1-1.5b"), tensor::KvType::q8), 28 * 2 * 2 * 132,
                20);
}

TEST(Work, KnowsWhatWeightsTake) {
    const model::WeightBytes bf16 = *weight_bytes(*here, shape("r1-1.5b"), DataType::bf16);
    EXPECT_NEAR(static_cast<double>(bf16.exact), 3.554e9, 1e6);
    EXPECT_NEAR(static_cast<double>(bf16.step), 3.087e9, 1e6);
    EXPECT_GE(bf16.reserved, bf16.exact);
    EXPECT_LT(static_cast<double>(bf16.reserved), 1.1 * static_cast<double>(bf16.exact));
    const model::WeightBytes q8_0 = *weight_bytes(*here, shape("r1-1.5b"), DataType::q8_0);
    EXPECT_NEAR(static_cast<double>(q8_0.step), 1.640e9, 0.01 * 1.640e9);
    const model::WeightBytes q4_0 = *weight_bytes(*here, shape("r1-1.5b"), DataType::q4_0);
    EXPECT_LT(q4_0.step, q8_0.step);
}

TEST(Work, CountsTheOperationsOfAToken) {
    // 2 * 1.31 billion multiply-adds without attention: 2.62 GFLOP.
    EXPECT_NEAR(token_operations(shape("r1-1.5b"), 0, false), 2.620e9, 0.003e9);
    EXPECT_NEAR(token_operations(shape("r1-1.5b"), 0, true), 2 * 1.5437e9, 0.003e9);
    // Each earlier position costs two products of 12 heads of 128 in 28 layers.
    EXPECT_DOUBLE_EQ(token_operations(shape("r1-1.5b"), 1'000, true) -
                         token_operations(shape("r1-1.5b"), 0, true),
                     1'000.0 * 4 * 28 * 12 * 128);
}

TEST(FileWeights, SayWhatAFileHoldsAndWhatItBecomes) {
    const auto file = FileWeights::open(HOLDFAST_SOURCE_DIR "/models/tiny-r1");
    ASSERT_TRUE(file) << file.error().what;
    EXPECT_EQ(file->names(std::nullopt), "bf16");
    const auto as_it_is = file->bytes(*here, std::nullopt);
    ASSERT_TRUE(as_it_is) << as_it_is.error().what;
    // Of 1,050,752 parameters all but the norms and biases.
    EXPECT_EQ(as_it_is->exact, 2 * (1'050'752U - 9 * 128U - 4 * 256U));
    EXPECT_EQ(as_it_is->step, as_it_is->exact - std::uint64_t{2} * 1'024 * 128);
    const auto q8_0 = file->bytes(*here, DataType::q8_0);
    ASSERT_TRUE(q8_0) << q8_0.error().what;
    EXPECT_NEAR(static_cast<double>(q8_0->exact) / static_cast<double>(as_it_is->exact), 8.5 / 16,
                0.02);
    EXPECT_EQ(file->names(DataType::q8_0), "q8_0");
    // Rows of 128 are no whole blocks of 256.
    EXPECT_EQ(file->names(DataType::q4_k), "q8_0 for q4_k");
    EXPECT_FALSE(file->can_have(DataType::q4_k));
    const auto fallen = file->bytes(*here, DataType::q4_k);
    ASSERT_TRUE(fallen) << fallen.error().what;
    EXPECT_EQ(fallen->exact, q8_0->exact);
    EXPECT_EQ(fallen->reserved, q8_0->reserved);
    EXPECT_FALSE(FileWeights::open(HOLDFAST_SOURCE_DIR "/models/none"));
}

}  // namespace
}  // namespace holdfast::perf
