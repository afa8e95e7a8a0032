#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <limits>

#include "inference/model/model.h"
#include "inference/model/random.h"
#include "inference/model/test_checkpoint.h"

namespace holdfast::model {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Load : public ::testing::Test {
protected:
    Load() { write_checkpoint(folder_, config_, tensors_); }

    base::Result<std::unique_ptr<Model>> try_load(LoadOptions options = {}) {
        options.kv_tokens = std::min(options.kv_tokens, 1'024U);
        return load(folder_.path(), options);
    }

    template <class... Parts>
    void expect_refused(const Parts&... parts) {
        const auto model = try_load();
        ASSERT_FALSE(model) << ::testing::PrintToString(std::tuple(parts...));
        EXPECT_THAT(model.error().what, AllOf(HasSubstr(parts)...));
    }

    // config.json with one field replaced or added.
    void set_field(const std::string& field, const std::string& value) {
        std::string json = config_json(config_);
        const std::string quoted = "\"" + field + "\":";
        const std::size_t at = json.find(quoted);
        if (at != json.npos) {
            const std::size_t end = json[at + quoted.size()] == '[' ? json.find(']', at) + 1
                                                                    : json.find_first_of(",}", at);
            json.erase(at, end - at + (json[end] == ','));
            if (json[at] == '}' && json[at - 1] == ',') json.erase(at - 1, 1);
        }
        if (!value.empty()) json.insert(1, quoted + value + ",");
        folder_.write("config.json", json);
    }

    void expect_field_refused(const std::string& field, const std::string& value) {
        set_field(field, value);
        SCOPED_TRACE(field + " " + value);
        expect_refused("config.json", field);
    }

    tensor::Config config_ = test_config();
    TestTensors tensors_ = random_tensors(config_, 3);
    base::testing::TemporaryFolder folder_;
};

TEST_F(Load, GivesTheShapeTheBlocksAndProgress) {
    std::vector<double> shares;
    LoadOptions options{.threads = 2, .kv_tokens = 100, .batch_tokens_max = 32};
    options.on_progress = [&](double share) { shares.push_back(share); };
    const auto model = try_load(options);
    ASSERT_TRUE(model) << model.error().what;
    const Shape& shape = (*model)->shape();
    EXPECT_EQ(shape.architecture, "qwen2");
    EXPECT_EQ(shape.layers, 3U);
    EXPECT_EQ(shape.hidden, 96U);
    EXPECT_EQ(shape.heads, 6U);
    EXPECT_EQ(shape.kv_heads, 2U);
    EXPECT_EQ(shape.head_dim, 32U);
    EXPECT_EQ(shape.ffn, 176U);
    EXPECT_EQ(shape.vocab, 211U);
    EXPECT_EQ(shape.context, 1'024U);
    EXPECT_EQ(shape.eos, (std::vector<chat::TokenId>{7, 9}));
    EXPECT_EQ((*model)->blocks(), 7U);
    EXPECT_EQ((*model)->batch_tokens_max(), 32U);
    EXPECT_TRUE(std::ranges::is_sorted(shares));
    EXPECT_EQ(shares.back(), 1.0);
}

TEST_F(Load, ReadsShardsAndGivesThemTheSameFingerprint) {
    const std::string single = (*try_load())->fingerprint();
    TestTensors first, second;
    std::string map;
    for (const auto& [name, tensor] : tensors_) {
        const bool early = (first.size() + second.size()) % 2 == 0;
        (early ? first : second)[name] = tensor;
        map += fmt::format(R"({}"{}":"{}.safetensors")", map.empty() ? "" : ",", name,
                           early ? "one" : "two");
    }
    const auto write_index = [&](const std::string& weight_map) {
        folder_.write("model.safetensors.index.json", R"({"weight_map":{)" + weight_map + "}}");
    };
    std::filesystem::remove(folder_.path() + "/model.safetensors");
    folder_.write("one.safetensors", safetensors_bytes(first, "BF16"));
    folder_.write("two.safetensors", safetensors_bytes(second, "BF16"));
    write_index(map);
    const auto sharded = try_load();
    ASSERT_TRUE(sharded) << sharded.error().what;
    EXPECT_EQ((*sharded)->fingerprint(), single);

    write_index(map + R"(,"ghost":"one.safetensors")");
    expect_refused("\"ghost\"", "one.safetensors");
    for (const char* const bad :
         {"../one.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".", ""}) {
        write_index(map + fmt::format(R"(,"x":"{}")", bad));
        expect_refused("index.json", "\"x\"", "plain name");
    }
    write_index(map + R"(,"x":7)");
    expect_refused("plain name");
    write_index(map + R"(,"x":"three.safetensors")");
    expect_refused("three.safetensors");
    folder_.write("two.safetensors", safetensors_bytes(tensors_, "BF16"));
    write_index(map);
    expect_refused("occurs in two shards");
    folder_.write("model.safetensors.index.json", "{");
    expect_refused("index.json", "not JSON");
    folder_.write("model.safetensors.index.json", "[]");
    expect_refused("weight_map");
}

TEST_F(Load, RefusesAFolderWithoutConfigurationOrWeights) {
    std::filesystem::remove(folder_.path() + "/model.safetensors");
    folder_.write("pytorch_model.bin", "pickle");
    expect_refused("model.safetensors", "pickled");
    std::filesystem::remove(folder_.path() + "/config.json");
    expect_refused("config.json");
    ASSERT_FALSE(load("/nonexistent/folder", {}));
}

TEST_F(Load, RefusesWeightsThatAreNoRegularFile) {
    const std::string path = folder_.path() + "/model.safetensors";
    std::filesystem::remove(path);
    std::filesystem::create_directory(path);
    expect_refused("model.safetensors");
    std::filesystem::remove(path);
    ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
    expect_refused("model.safetensors", "not a regular file");
}

TEST_F(Load, RefusesWeightsCutAnywhere) {
    const std::string whole = safetensors_bytes(tensors_, "BF16");
    for (std::size_t i = 0; i < 200; ++i) {
        folder_.write("model.safetensors", whole.substr(0, i * whole.size() / 200));
        ASSERT_FALSE(try_load()) << i;
    }
}

TEST_F(Load, NamesTheMissingTensorAndItsShape) {
    for (const auto& [name, tensor] : random_tensors(config_, 3)) {
        TestTensors others = tensors_;
        others.erase(name);
        write_checkpoint(folder_, config_, others);
        expect_refused("\"" + name + "\"", fmt::format("[{}]", fmt::join(tensor.shape, ", ")),
                       "missing");
    }
}

TEST_F(Load, NamesBothShapesOfAWrongTensor) {
    TestTensor& tensor = tensors_["model.layers.1.self_attn.k_proj.weight"];
    tensor.shape = {96, 64};
    write_checkpoint(folder_, config_, tensors_);
    expect_refused("model.layers.1.self_attn.k_proj.weight", "[96, 64]", "[64, 96]");
}

TEST_F(Load, RefusesNumbersThatAreNotFinite) {
    for (const char* const name :
         {"model.layers.2.mlp.down_proj.weight", "model.norm.weight", "model.embed_tokens.weight",
          "lm_head.weight", "model.layers.0.self_attn.v_proj.bias"}) {
        for (const float bad :
             {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
            TestTensors broken = tensors_;
            broken[name].values[5] = bad;
            write_checkpoint(folder_, config_, broken);
            expect_refused(name, "element 5");
        }
    }
}

TEST_F(Load, RefusesTypesThatItDoesNotComputeWith) {
    std::string bytes = safetensors_bytes(tensors_, "BF16");
    for (std::size_t at = 0; (at = bytes.find("\"BF16\"", at)) != bytes.npos;)
        bytes.replace(at, 6, "\"I16\" ");
    folder_.write("model.safetensors", bytes);
    expect_refused("model.embed_tokens.weight", "I16");
}

TEST_F(Load, RefusesConfigurationsThatMakeNoSense) {
    for (const char* const field :
         {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
          "num_key_value_heads", "vocab_size", "max_position_embeddings"})
        for (const char* const bad : {"", "0", "-1", "1.5", "1e300", "\"8\"", "4294967297",
                                      "18446744073709551615", "true", "[]"})
            expect_field_refused(field, bad);
    for (const char* const bad : {"1e999", "99999999999999999999", "NaN", "01"}) {
        set_field("hidden_size", bad);  // no number of JSON's parser: no field to name
        expect_refused("config.json", "not JSON");
    }
    set_field("hidden_size", "96");
    expect_field_refused("num_attention_heads", "7");  // no multiple of 2 key heads
    expect_field_refused("head_dim", "48");
    expect_field_refused("head_dim", "512");
    expect_field_refused("hidden_size", "104");
    expect_field_refused("rope_theta", "0");
    expect_field_refused("rope_theta", "-10000.0");
    expect_field_refused("rms_norm_eps", "0");
    expect_field_refused("rms_norm_eps", "\"small\"");
    expect_field_refused("tie_word_embeddings", "1");
    for (const char* const bad : {"", "211", "-1", "[]", "[7,211]", "\"7\"", "[[7]]"})
        expect_field_refused("eos_token_id", bad);
}

TEST_F(Load, RefusesByNameWhatItDoesNotImplement) {
    expect_field_refused("model_type", "\"mistral\"");
    expect_refused("mistral");
    expect_field_refused("hidden_act", "\"gelu\"");
    expect_field_refused("use_sliding_window", "true");
    expect_field_refused("rope_scaling", R"({"type":"yarn","factor":4.0})");
    expect_field_refused("quantization_config", R"({"bits":4})");
    expect_field_refused("layer_types", R"(["full_attention","sliding_attention"])");
    folder_.write("config.json", "{");
    expect_refused("config.json", "not JSON");
    folder_.write("config.json", "[1]");
    expect_refused("config.json", "not an object");
}

TEST_F(Load, UnderstandsTheFieldsOfNewerTransformers) {
    const std::string expected = (*try_load())->fingerprint();
    set_field("rope_theta", "");
    std::string json = config_json(config_);
    const std::size_t at = json.find("\"rope_theta\":10000,");
    ASSERT_NE(at, json.npos);
    json.replace(at, 19, R"("rope_parameters":{"rope_theta":10000.0,"rope_type":"default"},)");
    folder_.write("config.json", json);
    const auto model = try_load();
    ASSERT_TRUE(model) << model.error().what;
    EXPECT_EQ((*model)->fingerprint(), expected);
}

TEST_F(Load, TakesTheEndTokensFromTheGenerationConfigurationFirst) {
    folder_.write("generation_config.json", R"({"eos_token_id":11})");
    EXPECT_EQ((*try_load())->shape().eos, (std::vector<chat::TokenId>{11}));
    folder_.write("generation_config.json", R"({"temperature":0.6})");
    EXPECT_EQ((*try_load())->shape().eos, (std::vector<chat::TokenId>{7, 9}));
    folder_.write("generation_config.json", R"({"eos_token_id":1000})");
    expect_refused("generation_config.json", "eos_token_id");
    folder_.write("generation_config.json", "{");
    expect_refused("generation_config.json", "not JSON");
}

TEST_F(Load, RefusesOptionsOutOfRangeByName) {
    const auto refused = [&](const LoadOptions& options, const std::string& field) {
        const auto model = load(folder_.path(), options);
        ASSERT_FALSE(model) << field;
        EXPECT_THAT(model.error().what, HasSubstr(field));
    };
    refused({.threads = 0}, "threads");
    refused({.threads = 5'000}, "threads");
    refused({.kv_tokens = 0}, "kv_tokens");
    refused({.kv_tokens = 0xffff'ffffU}, "kv_tokens");
    refused({.batch_tokens_max = 0}, "batch_tokens_max");
    refused({.batch_tokens_max = 1'000'000}, "batch_tokens_max");
    refused({.isa = "sse9"}, "isa");
    refused({.device = "tpu:0"}, "cuda:N");
    refused({.kv_tokens = 1U << 27}, "MiB");  // 192 GiB of keys and values
    refused({.kv_tokens = 1U << 27}, "would fit: at most ");
}

TEST(Options, AreReadAsSettingsWriteThem) {
    EXPECT_EQ(*parse_weights("file"), std::nullopt);
    EXPECT_EQ(*parse_weights("q8"), tensor::DataType::q8_0);
    EXPECT_EQ(*parse_weights("q4"), tensor::DataType::q4_0);
    EXPECT_EQ(*parse_weights("q6_k"), tensor::DataType::q6_k);
    EXPECT_EQ(*parse_kv_type("q8"), tensor::KvType::q8);
    EXPECT_TRUE(*parse_native_numerics("native"));
    EXPECT_FALSE(*parse_native_numerics("portable"));
    for (const char* const bad : {"", "other", "Q8_0", "q2_k"}) {
        EXPECT_THAT(parse_weights(bad).error().what, HasSubstr("q8_0"));
        EXPECT_THAT(parse_kv_type(bad).error().what, HasSubstr("bf16"));
        EXPECT_THAT(parse_native_numerics(bad).error().what, HasSubstr("native"));
    }
}

TEST(RandomModel, IsTheSameEveryTimeAndComputesFiniteLogits) {
    const tensor::Config config = test_config();
    const LoadOptions options{.kv_tokens = 64, .batch_tokens_max = 16};
    const auto a = random_model(config, tensor::DataType::bf16, options),
               b = random_model(config, tensor::DataType::bf16, options);
    ASSERT_TRUE(a && b);
    const std::vector<chat::TokenId> tokens{1, 2, 3, 4, 5};
    const std::vector<BlockId> blocks{2};
    const Slice slice{tokens, 0, blocks, 5};
    const auto first = (*a)->forward({&slice, 1}), second = (*b)->forward({&slice, 1});
    EXPECT_TRUE(std::ranges::equal(first, second));
    EXPECT_TRUE(std::ranges::all_of(first, [](float v) { return std::isfinite(v); }));
    EXPECT_GT(*std::ranges::max_element(first), 0.5F);
    EXPECT_LT(*std::ranges::max_element(first), 50.0F);
}

}  // namespace
}  // namespace holdfast::model
