// Weights of every type: what they compute, on which axes the bits stay, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "inference/backend/cpu/isa.h"
#include "inference/backend/cpu/kernels.h"
#include "inference/model/model.h"
#include "inference/model/random.h"
#include "inference/model/test_gguf_checkpoint.h"
#include "inference/model/test_reference.h"

namespace holdfast::model {
namespace {

using tensor::DataType;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Rows = std::vector<std::vector<float>>;

constexpr DataType quantized_types[] = {DataType::q8_0, DataType::q4_0, DataType::q4_k,
                                        DataType::q5_k, DataType::q6_k};

TypeOf all(DataType type) {
    return [type](const std::string&) { return type; };
}

// What load() makes of a float checkpoint for these weights.
TypeOf converted(DataType type, std::uint32_t hidden) {
    return [=](const std::string& name) {
        const bool ends = name == "lm_head.weight" || name == "model.embed_tokens.weight";
        return !ends                                         ? type
               : tensor::bytes_of(type, 256) >= 210          ? type
               : hidden % 256 == 0 && type != DataType::q6_k ? DataType::q6_k
                                                             : DataType::q8_0;
    };
}

// Rows of 256 and 512: whole blocks of every type.
tensor::Config wide_config() {
    tensor::Config config = test_config();
    config.layers = 2;
    config.hidden = 256;
    config.heads = 8;
    config.ffn = 512;
    return config;
}

std::vector<chat::TokenId> some_tokens(std::size_t count) {
    std::vector<chat::TokenId> tokens;
    for (std::size_t i = 0; i < count; ++i)
        tokens.push_back(static_cast<chat::TokenId>(base::uniform(5, 8, i) * 211));
    return tokens;
}

// All logits of the tokens, `chunk` of them per forward.
Rows run(Model& model, std::span<const chat::TokenId> tokens, std::size_t chunk) {
    std::vector<BlockId> blocks;
    for (BlockId i = model.blocks(); i > 0; --i) blocks.push_back(i - 1);
    Rows rows;
    for (std::size_t at = 0; at < tokens.size(); at += chunk) {
        const auto part = tokens.subspan(at, std::min(chunk, tokens.size() - at));
        const Slice slice{part, static_cast<std::uint32_t>(at), blocks,
                          static_cast<std::uint32_t>(part.size())};
        const auto logits = model.forward({&slice, 1});
        for (std::size_t i = 0; i < part.size(); ++i)
            rows.emplace_back(logits.begin() + i * model.shape().vocab,
                              logits.begin() + (i + 1) * model.shape().vocab);
    }
    return rows;
}

void expect_same_bits(const Rows& a, const Rows& b, const std::string& what) {
    ASSERT_EQ(a.size(), b.size()) << what;
    for (std::size_t i = 0; i < a.size(); ++i)
        ASSERT_EQ(0, std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)))
            << what << ", token " << i;
}

// Of all logits, relative to the largest one of their row.
double mean_difference(const Rows& rows, const std::vector<std::vector<double>>& expected) {
    double sum = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        double largest = 0, squares = 0;
        for (std::size_t j = 0; j < rows[i].size(); ++j) {
            largest = std::max(largest, std::abs(expected[i][j]));
            squares += (expected[i][j] - rows[i][j]) * (expected[i][j] - rows[i][j]);
        }
        sum += std::sqrt(squares / static_cast<double>(rows[i].size())) / largest;
    }
    return sum / static_cast<double>(rows.size());
}

class WeightsTest : public ::testing::Test {
protected:
    std::unique_ptr<Model> load_path(const std::string& path, LoadOptions options = {}) {
        options.kv_tokens = 256;
        options.batch_tokens_max = 128;
        auto model = load(path, options);
        if (!model) ADD_FAILURE() << model.error().what;
        return model ? std::move(model).value() : nullptr;
    }
    std::string gguf(const TypeOf& type_of) {
        folder_.write("model.gguf", gguf_bytes(config_, tensors_, type_of));
        return folder_.path() + "/model.gguf";
    }
    std::string safetensors() {
        write_checkpoint(folder_, config_, tensors_);
        return folder_.path();
    }

    tensor::Config config_ = wide_config();
    TestTensors tensors_ = random_tensors(config_, 6);
    base::testing::TemporaryFolder folder_;
    const std::vector<chat::TokenId> tokens_ = some_tokens(40);
};

// Quantized matrices take activations in 8 bits: each is off by up to 1/254 of the largest of its
// 32, evenly distributed, about 1 % of a typical one. Sums over many keep that relation.
TEST_F(WeightsTest, ComputeWhatTheirDequantizedNumbersSay) {
    for (const DataType type : quantized_types) {
        const auto expected = Reference(config_, dequantized(tensors_, all(type))).logits(tokens_);
        const Rows rows = run(*load_path(gguf(all(type))), tokens_, 64);
        EXPECT_LT(mean_difference(rows, expected), 0.01) << tensor::name(type);
    }
    for (const DataType type : {DataType::bf16, DataType::f16, DataType::f32}) {
        const auto expected = Reference(config_, dequantized(tensors_, all(type))).logits(tokens_);
        const Rows rows = run(*load_path(gguf(all(type))), tokens_, 64);
        EXPECT_LT(mean_difference(rows, expected), 1e-6) << tensor::name(type);
    }
}

TEST_F(WeightsTest, GiveTheSameBitsOnEveryAxisWithEveryCacheType) {
    for (const DataType type : quantized_types) {
        const std::string path = gguf(all(type));
        for (const tensor::KvType kv_type : tensor::all_kv_types) {
            Rows first;
            for (const cpu::Isa isa : cpu::all_isas) {
                if (!cpu::is_supported(isa)) continue;
                const std::uint32_t threads = 1 + static_cast<std::uint32_t>(isa) % 3;
                const auto model = load_path(
                    path,
                    {.threads = threads, .isa = std::string(cpu::name(isa)), .kv_type = kv_type});
                const Rows rows = run(*model, tokens_, 64);
                if (first.empty()) first = rows;
                const std::string what = fmt::format("{} {} {}", tensor::name(type),
                                                     tensor::name(kv_type), cpu::name(isa));
                expect_same_bits(first, rows, what);
                expect_same_bits(first, run(*model, tokens_, 7), what + " in sevens");
                expect_same_bits(first, run(*model, tokens_, 1), what + " one by one");
            }
        }
    }
}

TEST_F(WeightsTest, BecomeWhileLoadingWhatAFileOfThatTypeHolds) {
    const std::string folder = safetensors();
    for (const DataType type : {DataType::f16, DataType::f32, DataType::q8_0, DataType::q4_0,
                                DataType::q4_k, DataType::q5_k, DataType::q6_k}) {
        const auto model = load_path(folder, {.threads = 2, .weights = type});
        const Rows rows = run(*model, tokens_, 64);
        const auto expected = load_path(gguf(converted(type, config_.hidden)));
        expect_same_bits(run(*expected, tokens_, 64), rows, std::string(tensor::name(type)));
        EXPECT_THAT(model->fingerprint(),
                    StartsWith(fmt::format("portable-1-{}-kv-f32-", tensor::name(type))));
        EXPECT_NE(model->fingerprint(), expected->fingerprint());
    }
}

TEST_F(WeightsTest, OfOneLayerMayHaveSeveralTypes) {
    const TypeOf mixed = [](const std::string& name) {
        if (name.ends_with("v_proj.weight") || name == "lm_head.weight") return DataType::q6_k;
        if (name.ends_with("1.mlp.up_proj.weight")) return DataType::q8_0;
        if (name.ends_with("0.self_attn.k_proj.weight")) return DataType::bf16;
        return DataType::q4_k;
    };
    const auto model = load_path(gguf(mixed));
    const auto expected = Reference(config_, dequantized(tensors_, mixed)).logits(tokens_);
    EXPECT_LT(mean_difference(run(*model, tokens_, 64), expected), 0.01);
    EXPECT_THAT(model->fingerprint(), StartsWith("portable-1-q4_k-kv-f32-"));
}

TEST_F(WeightsTest, OfTiedHeadsServeAsEmbeddingToo) {
    config_.tied_head = true;
    tensors_ = random_tensors(config_, 7);
    for (const DataType type : {DataType::q8_0, DataType::q6_k}) {
        const auto expected = Reference(config_, dequantized(tensors_, all(type))).logits(tokens_);
        const Rows rows = run(*load_path(gguf(all(type))), tokens_, 64);
        EXPECT_LT(mean_difference(rows, expected), 0.01) << tensor::name(type);
    }
}

TEST_F(WeightsTest, OfLlamaAreTheSameInterleavedInAFileAsInAFolder) {
    config_.architecture = "llama";
    config_.qkv_bias = false;
    tensors_ = random_tensors(config_, 8);
    const auto in_file = load_path(gguf(all(DataType::bf16)));
    const auto in_folder = load_path(safetensors());
    expect_same_bits(run(*in_folder, tokens_, 64), run(*in_file, tokens_, 64), "llama");
    EXPECT_NE(in_folder->fingerprint(), in_file->fingerprint());
}

TEST_F(WeightsTest, AndEverythingElseThatChangesBitsAreInTheFingerprint) {
    const std::string folder = safetensors();
    std::vector<std::string> all{load_path(folder)->fingerprint()};
    EXPECT_THAT(all[0], StartsWith("portable-1-bf16-kv-f32-"));
    EXPECT_EQ(load_path(folder, {.threads = 2, .isa = "scalar"})->fingerprint(), all[0]);
    all.push_back(load_path(folder, {.kv_type = tensor::KvType::bf16})->fingerprint());
    all.push_back(load_path(folder, {.kv_type = tensor::KvType::q8})->fingerprint());
    all.push_back(load_path(folder, {.weights = DataType::q4_0})->fingerprint());
    if (cpu::has_numerics(cpu::native_numerics())) {
        all.push_back(load_path(folder, {.native_numerics = true})->fingerprint());
        EXPECT_THAT(all.back(), StartsWith(std::string(name(cpu::native_numerics())) + "-bf16-"));
    }
    std::ranges::sort(all);
    EXPECT_EQ(std::ranges::adjacent_find(all), all.end());
}

TEST_F(WeightsTest, WithAScaleThatIsNotFiniteAreRefused) {
    std::string bytes = gguf_bytes(config_, tensors_, all(DataType::q8_0));
    const TestTensor& tensor = tensors_["model.layers.1.mlp.down_proj.weight"];
    const std::size_t at = bytes.find(quantized(tensor, DataType::q8_0));
    ASSERT_NE(at, bytes.npos);
    bytes.replace(at + 3 * 34, 2, std::string("\x00\x7c", 2));  // the scale of block 3: infinite
    folder_.write("bad.gguf", bytes);
    const auto model = load(folder_.path() + "/bad.gguf", {.threads = 2, .kv_tokens = 64});
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code, base::Code::corrupt);
    EXPECT_THAT(model.error().what, HasSubstr("model.layers.1.mlp.down_proj.weight"));
    EXPECT_THAT(model.error().what, HasSubstr("element 96"));
}

TEST_F(WeightsTest, ThatTheTypeCannotHoldAreRefused) {
    tensors_["model.layers.0.self_attn.o_proj.weight"].values[300] = 99'840.0F;
    const std::string folder = safetensors();
    const auto model = load(folder, {.kv_tokens = 64, .weights = DataType::f16});
    ASSERT_FALSE(model);
    EXPECT_THAT(model.error().what, HasSubstr("self_attn.o_proj.weight"));
    EXPECT_THAT(model.error().what, HasSubstr("element 300"));
    EXPECT_TRUE(load(folder, {.kv_tokens = 64, .weights = DataType::f32}));
}

TEST_F(WeightsTest, WhoseRowsAreNoWholeBlocksFallBack) {
    config_.hidden = 96;
    config_.heads = 4;
    config_.ffn = 176;  // not even whole blocks of q8_0
    tensors_ = random_tensors(config_, 9);
    const std::string folder = safetensors();
    const auto tokens = some_tokens(20);
    LoadOptions options{.kv_tokens = 64, .batch_tokens_max = 32, .weights = DataType::q8_0};
    const auto plain = load(folder, options);
    ASSERT_TRUE(plain) << plain.error().what;
    options.weights = DataType::q4_k;
    const auto fallen = load(folder, options);
    ASSERT_TRUE(fallen) << fallen.error().what;
    EXPECT_EQ(run(**fallen, tokens, 32), run(**plain, tokens, 32));
    EXPECT_EQ((*fallen)->fingerprint(), (*plain)->fingerprint());
    EXPECT_THAT((*fallen)->fingerprint(), HasSubstr("q8_0"));
}

TEST_F(WeightsTest, FallBackOneMatrixAtATime) {
    config_.ffn = 320;
    tensors_ = random_tensors(config_, 9);
    const auto model = load(safetensors(), {.kv_tokens = 64, .weights = DataType::q4_k});
    ASSERT_TRUE(model) << model.error().what;
    EXPECT_THAT((*model)->fingerprint(), HasSubstr("q4_k"));
}

TEST(RandomModel, ExistsInEveryTypeAndAsAFile) {
    tensor::Config config = wide_config();
    const auto tokens = some_tokens(20);
    for (const DataType type : {DataType::f32, DataType::bf16, DataType::q8_0, DataType::q4_0,
                                DataType::q4_k, DataType::q5_k, DataType::q6_k}) {
        const LoadOptions options{.kv_tokens = 64, .batch_tokens_max = 32};
        const auto model = random_model(config, type, options);
        ASSERT_TRUE(model) << model.error().what;
        EXPECT_THAT((*model)->fingerprint(), HasSubstr(tensor::name(type)));
        for (const auto& row : run(**model, tokens, 32))
            for (const float logit : row) ASSERT_LT(std::abs(logit), 50);
        const base::testing::TemporaryFolder folder;
        const std::string path = folder.path() + "/random.gguf";
        ASSERT_TRUE(write_random(config, type, path));
        const auto loaded = load(path, options);
        ASSERT_TRUE(loaded) << loaded.error().what;
        for (const auto& row : run(**loaded, tokens, 32))
            for (const float logit : row) ASSERT_LT(std::abs(logit), 50);
        EXPECT_FALSE(write_random(config, type, path)) << "the file exists";
    }
}

TEST(RandomModel, WritesTheFrequenciesOfLlama) {
    tensor::Config config = wide_config();
    config.architecture = "llama";
    config.qkv_bias = false;
    config.rope_scaling.emplace();
    const base::testing::TemporaryFolder folder;
    ASSERT_TRUE(write_random(config, DataType::q8_0, folder.path() + "/random.gguf"));
    const auto read = tensor::read_config(folder.path() + "/random.gguf");
    ASSERT_TRUE(read) << read.error().what;
    ASSERT_EQ(read->rope_divisors.size(), 16);
    EXPECT_EQ(read->rope_divisors.front(), 1);
    EXPECT_EQ(read->rope_divisors.back(), 8);
}

TEST(Shapes, AreThoseOfAllDistills) {
    for (const std::string_view name : shape_names()) EXPECT_TRUE(find_shape(name)) << name;
    EXPECT_EQ(shape_names().size(), 6);
    EXPECT_FALSE(find_shape("r1-3b"));
    const auto config = find_shape("r1-1.5b");
    const double layer = 1.0 * config->hidden * (2 * config->hidden + 2 * 2 * 128) +
                         3.0 * config->hidden * config->ffn + 2.0 * config->hidden +
                         config->hidden + 2 * 2 * 128;
    EXPECT_EQ(28 * layer + 2.0 * config->vocab * config->hidden + config->hidden, 1'777'088'000.0);
}

}  // namespace
}  // namespace holdfast::model
