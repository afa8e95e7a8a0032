#include "tools/plan/estimate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <simdjson.h>
#include <unistd.h>

#include <fstream>

#include "inference/model/model.h"
#include "inference/model/random.h"
#include "tools/perf/file_weights.h"
#include "tools/plan/report.h"

namespace holdfast::plan {
namespace {

using tensor::DataType;
using testing::HasSubstr;
using testing::Not;

tensor::Config shape(std::string_view name) { return *model::find_shape(name); }

model::WeightBytes weight_bytes(const tensor::Config& config, DataType type) {
    return *perf::weight_bytes(*model::processor(), config, type);
}

Hardware card(std::string_view name) { return *find_card(name); }

TEST(Cards, AreFoundHoweverPeopleWriteThem) {
    for (const char* const name :
         {"RTX 4090", "rtx4090", "NVIDIA GeForce RTX 4090", "4090", "Rtx-4090"}) {
        const auto found = find_card(name);
        ASSERT_TRUE(found) << name;
        EXPECT_EQ(found->name, "RTX 4090");
        EXPECT_EQ(found->memory_bytes, 24ULL << 30);
        EXPECT_DOUBLE_EQ(found->bytes_per_second, 1'008e9);
    }
    EXPECT_EQ(find_card("4070 ti super")->name, "RTX 4070 Ti Super");
    EXPECT_EQ(find_card("h100")->memory_bytes, 80ULL << 30);
    EXPECT_EQ(find_card("NVIDIA H100 SXM5")->name, "H100");
    EXPECT_EQ(find_card("a100-80gb-sxm")->name, "A100 80GB");
    for (const Card& one : cards()) EXPECT_EQ(find_card(one.name)->name, one.name);
}

TEST(Cards, AreSuggestedWhenTheNameIsWrong) {
    EXPECT_THAT(find_card("RTX 4091").error().what, HasSubstr("did you mean \"RTX 40"));
    EXPECT_THAT(find_card("H300").error().what, HasSubstr("did you mean \"H"));
    EXPECT_THAT(find_card("toaster").error().what, HasSubstr("--memory"));
    EXPECT_FALSE(find_card(""));
}

TEST(Estimate, AgreesWithTheLimitsComputedByHand) {
    // 4.3 TB/s and one token of context: 3.087 GB of bf16, 1.640 GB of q8_0 a step.
    Hardware h200 = card("H200");
    h200.bytes_per_second = 4.3e12;
    const Wish wish{.context = 1, .sequences = 1, .kv_type = tensor::KvType::bf16};
    const auto config = shape("r1-1.5b");
    const auto at = [&](DataType type) {
        return estimate(config, weight_bytes(config, type), h200, wish);
    };
    EXPECT_NEAR(at(DataType::bf16).limit_per_second, 1'393, 3);
    EXPECT_NEAR(at(DataType::q8_0).limit_per_second, 2'622, 30);
    EXPECT_NEAR(at(DataType::bf16).memory.weights, 3.554e9, 1e6);
    EXPECT_NEAR(at(DataType::bf16).kv_bytes_per_token, 28'672, 30);
    // vLLM reaches 487 tokens/s there, and the estimate is made from that.
    h200.bytes_per_second = 4.47e12;
    EXPECT_NEAR(at(DataType::bf16).single_per_second, 487, 25);
    // 989.4 TFLOP/s * 0.5 / (2.62 GFLOP and the attention of 256.5 positions).
    EXPECT_NEAR(*at(DataType::bf16).prefill_per_second, 494.7e12 / (2.620e9 + 256.5 * 172'032),
                500);
}

TEST(Estimate, FillsTheMemoryWithSequences) {
    const auto config = shape("r1-7b");
    const Hardware hardware = card("RTX 4090");
    const Wish wish{.context = 8'192, .kv_type = tensor::KvType::bf16};
    const auto one = estimate(config, weight_bytes(config, DataType::bf16), hardware, wish);
    EXPECT_TRUE(one.fits);
    EXPECT_GT(one.sequences, 1U);
    const double each = one.memory.kv / one.sequences;
    EXPECT_NEAR(each, 8'192 * 57'344.0, 1e6);
    const auto room = static_cast<double>(hardware.memory_bytes);
    EXPECT_LE(one.memory.total(), room);
    EXPECT_GT(one.memory.total() + each, room);
    EXPECT_GT(one.full_per_second, one.single_per_second);
    EXPECT_LT(one.single_per_second, one.limit_per_second);

    const Wish more{.context = 8'192, .sequences = one.sequences + 1, .kv_type = wish.kv_type};
    EXPECT_FALSE(estimate(config, weight_bytes(config, DataType::bf16), hardware, more).fits);
    const auto large = shape("r1-32b");
    const auto none = estimate(large, weight_bytes(large, DataType::bf16), hardware, wish);
    EXPECT_FALSE(none.fits);
    EXPECT_EQ(none.sequences, 0U);
}

TEST(Estimate, CountsIntegerKernelsForQuantizedWeightsAlone) {
    Hardware processor{.name = "here",
                       .memory_bytes = 64ULL << 30,
                       .bytes_per_second = 1e12,  // so that arithmetic is the limit
                       .operations_per_second = 1e11,
                       .is_processor = true,
                       .threads = 1};
    const auto config = shape("r1-1.5b");
    const auto prefill = [&](DataType type) {
        return *estimate(config, weight_bytes(config, type), processor, {}).prefill_per_second;
    };
    EXPECT_DOUBLE_EQ(prefill(DataType::q8_0), prefill(DataType::bf16));
    processor.has_integer_kernels = true;
    EXPECT_DOUBLE_EQ(prefill(DataType::q8_0) / prefill(DataType::bf16), 2.5 / 0.75);
}

TEST(Estimate, CutsTheContextToTheModels) {
    const auto config = shape("r1-1.5b");
    const auto bytes = weight_bytes(config, DataType::bf16);
    const Wish endless{.context = 1U << 30, .sequences = 1, .kv_type = tensor::KvType::bf16};
    EXPECT_NEAR(estimate(config, bytes, card("H100"), endless).memory.kv, 131'072 * 28'672.0, 1e7);
}

TEST(Cost, FollowsFromPricesAndUse) {
    // 0.5 + 0.4 kW * 0.25 an hour; 1000 tokens/s at half use are 1.8 million an hour.
    const Prices prices{
        .hour = 0.5, .watts = 400, .kilowatt_hour = 0.25, .api_million = 2.0, .utilization = 0.5};
    const Cost money = cost(prices, 1'000);
    EXPECT_DOUBLE_EQ(money.hour, 0.6);
    EXPECT_DOUBLE_EQ(money.million_tokens, 0.6 / 1.8);
    EXPECT_DOUBLE_EQ(money.tokens_per_month_max, 3.6e6 * 730);
    EXPECT_DOUBLE_EQ(*money.break_even_tokens_per_month, 0.6 * 730 / 2.0 * 1e6);
    EXPECT_TRUE(money.can_break_even());
    EXPECT_FALSE(cost(prices, 10).can_break_even());
    EXPECT_FALSE(cost({.hour = 1}, 10).break_even_tokens_per_month);
}

// Bytes of this process that are in memory.
double resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    double all = 0, resident = 0;
    statm >> all >> resident;
    return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

// What the plan says of `config` on a processor, and what loading it really takes.
void expect_agreement(
    const tensor::Config& config, const model::WeightBytes& weights,
    const std::function<base::Result<std::unique_ptr<model::Model>>(const model::LoadOptions&)>&
        make) {
    for (const tensor::KvType kv_type :
         {tensor::KvType::f32, tensor::KvType::bf16, tensor::KvType::q8}) {
        const Wish wish{.context = 2'048, .sequences = 4, .kv_type = kv_type};
        const Hardware processor{.name = "here",
                                 .memory_bytes = 8ULL << 30,
                                 .bytes_per_second = 1e10,
                                 .is_processor = true,
                                 .threads = 1};
        const double planned = estimate(config, weights, processor, wish).memory.total();
        model::LoadOptions options;
        options.kv_tokens = 4 * 2'048;
        options.kv_type = kv_type;
        const double before = resident_bytes();
        const auto model = make(options);
        ASSERT_TRUE(model) << model.error().what;
        EXPECT_NEAR((resident_bytes() - before) / planned, 1, 0.1) << tensor::name(kv_type);
    }
}

TEST(Estimate, AgreesWithTheMemoryOfALoadedModel) {
    const std::string path = HOLDFAST_SOURCE_DIR "/models/tiny-r1";
    const auto file = perf::FileWeights::open(path);
    ASSERT_TRUE(file);
    expect_agreement(file->config(), *file->bytes(*model::processor(), std::nullopt),
                     [&](const model::LoadOptions& options) { return model::load(path, options); });
    const tensor::Config middle{.architecture = "qwen2",
                                .layers = 6,
                                .hidden = 512,
                                .heads = 8,
                                .kv_heads = 2,
                                .head_dim = 64,
                                .ffn = 2'048,
                                .vocab = 16'384,
                                .context = 4'096,
                                .eos = {1}};
    for (const DataType type : {DataType::bf16, DataType::q8_0, DataType::q4_k})
        expect_agreement(middle, weight_bytes(middle, type),
                         [&](const model::LoadOptions& options) {
                             return model::random_model(middle, type, options);
                         });
}

TEST(Report, ShowsWhatFitsAndWhatDoesNot) {
    Plan plan{.hardware = card("RTX 3060"), .wish = {.kv_type = tensor::KvType::bf16}};
    for (const char* const name : {"r1-1.5b", "r1-32b"}) {
        auto& one = plan.candidates.emplace_back(name, shape(name));
        one.precisions.emplace_back("q4_0", weight_bytes(one.config, DataType::q4_0));
    }
    const std::string all = to_table(plan);
    EXPECT_THAT(all, HasSubstr("r1-1.5b  q4_0"));
    EXPECT_THAT(all, HasSubstr("r1-32b does not fit: it needs"));
    EXPECT_THAT(all, HasSubstr("no GPU backend yet"));
    plan.candidates.pop_back();
    plan.prices = Prices{.hour = 0.1, .api_million = 1.0};
    const std::string one = to_table(plan);
    EXPECT_THAT(one, HasSubstr("1.777 billion parameters"));
    EXPECT_THAT(one, HasSubstr("cheaper than the API from"));
    EXPECT_THAT(one, Not(HasSubstr("does not fit")));
}

TEST(Report, IsJsonForPrograms) {
    Plan plan{.hardware = card("H100"),
              .wish = {.kv_type = tensor::KvType::bf16},
              .prices = Prices{.hour = 2}};
    auto& one = plan.candidates.emplace_back("r1-1.5b", shape("r1-1.5b"));
    one.precisions.emplace_back("bf16", weight_bytes(one.config, DataType::bf16));
    simdjson::dom::parser parser;
    const auto root = parser.parse(to_json(plan)).value();
    EXPECT_EQ(root["hardware"]["name"].get_string().value(), "H100");
    const auto precision = root["models"].at(0)["precisions"].at(0).value();
    EXPECT_TRUE(precision["fits"].get_bool().value());
    EXPECT_NEAR(precision["memory_bytes"]["weights"].get_double().value(), 3.554e9, 1e6);
    EXPECT_GT(precision["tokens_per_second"]["all"].get_double().value(), 0);
    EXPECT_GT(precision["cost"]["million_tokens"].get_double().value(), 0);
    EXPECT_GE(root["assumptions"].get_array().value().size(), 3U);
}

}  // namespace
}  // namespace holdfast::plan
