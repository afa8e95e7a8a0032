#include "inference/tensor/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "common/base/test_damage.h"
#include "common/base/test_folder.h"
#include "inference/tensor/test_gguf.h"

namespace holdfast::tensor {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::GgufBytes;
using ::testing::HasSubstr;
using testing::raw;

// --- Folders ------------------------------------------------------------------------------------

using Fields = std::map<std::string, std::string>;

Fields llama_fields() {
    return {{"model_type", R"("llama")"},    {"hidden_size", "256"},
            {"intermediate_size", "512"},    {"num_hidden_layers", "2"},
            {"num_attention_heads", "8"},    {"num_key_value_heads", "2"},
            {"vocab_size", "300"},           {"max_position_embeddings", "131072"},
            {"rope_theta", "500000.0"},      {"rms_norm_eps", "1e-5"},
            {"attention_bias", "false"},     {"mlp_bias", "false"},
            {"tie_word_embeddings", "true"}, {"eos_token_id", "[128, 129]"},
            {"hidden_act", R"("silu")"},     {"pretraining_tp", "1"}};
}

constexpr const char* llama3 = R"({"factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,)"
                               R"("original_max_position_embeddings":8192,"rope_type":"llama3"})";

class FolderConfig : public ::testing::Test {
protected:
    static std::string json(const Fields& changes = {}) {
        Fields fields = llama_fields();
        for (const auto& [name, value] : changes) fields[name] = value;
        std::string text = "{";
        for (const auto& [name, value] : fields)
            if (!value.empty())
                text += fmt::format(R"({}"{}":{})", text.size() > 1 ? "," : "", name, value);
        return text + "}";
    }
    base::Result<Config> read(const Fields& changes = {}) {
        folder_.write("config.json", json(changes));
        return read_config(folder_.path());
    }
    base::Result<Config> read_with(const std::string& name, const std::string& content) {
        folder_.write(name, content);
        return read_config(folder_.path());
    }
    void expect_refused(const Fields& changes, const std::string& reason) {
        const auto config = read(changes);
        ASSERT_FALSE(config) << reason;
        EXPECT_THAT(config.error().what, AllOf(HasSubstr("config.json: field"), HasSubstr(reason)));
    }

    base::testing::TemporaryFolder folder_;
};

TEST_F(FolderConfig, ReadsLlama) {
    const auto config = read();
    ASSERT_TRUE(config) << config.error().what;
    EXPECT_EQ(config->architecture, "llama");
    EXPECT_EQ(config->head_dim, 32U);
    EXPECT_EQ(config->kv_heads, 2U);
    EXPECT_EQ(config->rope_theta, 500'000.0F);
    EXPECT_EQ(config->rms_norm_epsilon, 1e-5F);
    EXPECT_FALSE(config->qkv_bias);
    EXPECT_TRUE(config->tied_head);
    EXPECT_FALSE(config->rope_scaling);
    EXPECT_THAT(config->eos, ElementsAre(128, 129));
}

TEST_F(FolderConfig, GivesLlamaAsManyKeyAsQueryHeadsUnlessItSaysOtherwise) {
    EXPECT_EQ(read({{"num_key_value_heads", ""}})->kv_heads, 8U);
    expect_refused({{"num_key_value_heads", ""}, {"model_type", R"("qwen2")"}}, "is missing");
}

TEST_F(FolderConfig, GivesQwen2ItsBiases) {
    EXPECT_TRUE(read({{"model_type", R"("qwen2")"}})->qkv_bias);
}

TEST_F(FolderConfig, ReadsLlama3ScalingInBothSpellings) {
    const std::string parameters = std::string(R"({"rope_theta":700000.0,)") + (llama3 + 1);
    for (const Fields& changes : {Fields{{"rope_scaling", llama3}},
                                  Fields{{"rope_parameters", parameters}, {"rope_theta", ""}}}) {
        const auto config = read(changes);
        ASSERT_TRUE(config) << config.error().what;
        ASSERT_TRUE(config->rope_scaling);
        EXPECT_EQ(config->rope_scaling->factor, 8.0F);
        EXPECT_EQ(config->rope_scaling->low_frequency_factor, 1.0F);
        EXPECT_EQ(config->rope_scaling->high_frequency_factor, 4.0F);
        EXPECT_EQ(config->rope_scaling->original_context, 8'192U);
        EXPECT_EQ(config->rope_theta, changes.contains("rope_scaling") ? 500'000.0F : 700'000.0F);
    }
    EXPECT_FALSE(read({{"rope_scaling", R"({"type":"default"})"}})->rope_scaling);
    EXPECT_FALSE(read({{"rope_scaling", "null"}})->rope_scaling);
}

TEST_F(FolderConfig, RefusesOtherScalingAndBrokenLlama3) {
    expect_refused({{"rope_scaling", R"({"type":"yarn","factor":4.0})"}}, "the rope type \"yarn\"");
    expect_refused({{"rope_parameters", R"({"rope_type":"linear"})"}}, "the rope type \"linear\"");
    expect_refused({{"rope_scaling", R"({"rope_type":3})"}}, "rope_type");
    expect_refused({{"rope_scaling", "[]"}}, "is not an object");
    expect_refused({{"rope_scaling", R"({"rope_type":"llama3"})"}},
                   "\"rope_scaling.factor\" is missing");
    for (const auto& [key, value] : Fields{{"factor", "0.5"},
                                           {"low_freq_factor", "0"},
                                           {"high_freq_factor", "1e300"},
                                           {"original_max_position_embeddings", "\"x\""}}) {
        Fields parameters{{"rope_type", "\"llama3\""},
                          {"factor", "8"},
                          {"low_freq_factor", "1"},
                          {"high_freq_factor", "4"},
                          {"original_max_position_embeddings", "8192"}};
        parameters[key] = value;
        std::string json = "{";
        for (const auto& [name, number] : parameters)
            json += fmt::format(R"({}"{}":{})", json.size() > 1 ? "," : "", name, number);
        expect_refused({{"rope_scaling", json + "}"}}, "rope_scaling." + key);
    }
    expect_refused({{"rope_scaling", R"({"rope_type":"llama3","factor":8,"low_freq_factor":4,)"
                                     R"("high_freq_factor":4,)"
                                     R"("original_max_position_embeddings":8192})"}},
                   "not above low_freq_factor");
}

TEST_F(FolderConfig, RefusesWhatWouldBeComputedWrongly) {
    expect_refused({{"attention_bias", "true"}}, "attention_bias");
    expect_refused({{"mlp_bias", "true"}}, "mlp_bias");
    expect_refused({{"partial_rotary_factor", "0.5"}}, "partial_rotary_factor");
    expect_refused({{"model_type", R"("mistral")"}}, "\"mistral\", only \"qwen2\" and \"llama\"");
    expect_refused({{"hidden_act", R"("gelu")"}}, "hidden_act");
    expect_refused({{"quantization_config", "{}"}}, "quantization_config");
    expect_refused({{"num_attention_heads", "7"}}, "num_attention_heads");
    expect_refused({{"head_dim", "48"}}, "head_dim");
}

TEST_F(FolderConfig, TakesHowItIsToBeSampledFromTheGenerationConfiguration) {
    ASSERT_TRUE(read());
    EXPECT_EQ(read()->sampling, SamplingDefaults());
    const auto with = [&](const std::string& fields) {
        return read_with("generation_config.json", "{" + fields + "}");
    };
    const auto all = with(R"("temperature":0.6,"top_p":0.95,"top_k":20,"min_p":0.05,)"
                          R"("repetition_penalty":1.05)");
    ASSERT_TRUE(all) << all.error().what;
    EXPECT_EQ(all->sampling, (SamplingDefaults{.temperature = 0.6F,
                                               .top_p = 0.95F,
                                               .top_k = 20,
                                               .min_p = 0.05F,
                                               .repetition_penalty = 1.05F}));
    EXPECT_EQ(with(R"("temperature":0,"top_k":-1,"top_p":null)")->sampling,
              (SamplingDefaults{.temperature = 0.0F, .top_k = 0}));
    for (const auto& [field, bad] :
         {std::pair("temperature", "2.1"), std::pair("temperature", "-0.1"),
          std::pair("top_p", "0"), std::pair("top_p", "1.1"), std::pair("top_k", "-2"),
          std::pair("top_k", "1.5"), std::pair("min_p", "\"low\""),
          std::pair("repetition_penalty", "0")}) {
        const auto refused = with(fmt::format(R"("{}":{})", field, bad));
        ASSERT_FALSE(refused) << field << " " << bad;
        EXPECT_THAT(refused.error().what,
                    AllOf(HasSubstr("generation_config.json"), HasSubstr(field)));
    }
}

TEST_F(FolderConfig, SurvivesDamage) {
    base::testing::expect_survives_damage(
        json({{"rope_scaling", llama3}}),
        "config.json: ", [&](const std::string& text) { return read_with("config.json", text); });
    ASSERT_TRUE(read());
    base::testing::expect_survives_damage(
        R"({"bos_token_id":1,"eos_token_id":[128,129],"temperature":0.6})",
        "generation_config.json: ", [&](const std::string& text) {
            return read_with("generation_config.json", text);
        });
}

// --- GGUF files ---------------------------------------------------------------------------------

constexpr std::uint32_t f32 = 0, f16 = 1;

// A model of which only the embedding is there, unless `parts` says otherwise.
GgufBytes model(const std::string& architecture, const std::string& without = "") {
    GgufBytes file;
    file.text("general.architecture", architecture);
    const std::pair<const char*, std::uint32_t> integers[] = {
        {"block_count", 2},           {"context_length", 131'072}, {"embedding_length", 256},
        {"feed_forward_length", 512}, {"attention.head_count", 8}, {"attention.head_count_kv", 2}};
    for (const auto& [name, number] : integers)
        if (name != without) file.integer(architecture + "." + name, number);
    if (without != "rope.freq_base") file.number(architecture + ".rope.freq_base", 500'000.0F);
    if (without != "attention.layer_norm_rms_epsilon")
        file.number(architecture + ".attention.layer_norm_rms_epsilon", 1e-5F);
    if (without != "eos") file.integer("tokenizer.ggml.eos_token_id", 43);
    if (without != "embedding")
        file.tensor("token_embd.weight", {300, 256}, f16, std::string(300 * 256 * 2, '\0'));
    return file;
}

class GgufConfig : public ::testing::Test {
protected:
    base::Result<Config> read(const GgufBytes& file) {
        folder_.write("m.gguf", file.bytes());
        return read_config(folder_.path() + "/m.gguf");
    }
    void expect_refused(const GgufBytes& file, const std::string& reason) {
        const auto config = read(file);
        ASSERT_FALSE(config) << reason;
        EXPECT_THAT(config.error().what, AllOf(HasSubstr("m.gguf: "), HasSubstr(reason)));
    }

    base::testing::TemporaryFolder folder_;
};

TEST_F(GgufConfig, ReadsQwen2AndLlama) {
    for (const std::string architecture : {"qwen2", "llama"}) {
        auto file = model(architecture);
        if (architecture == "qwen2")
            file.tensor("blk.0.attn_q.bias", {256}, f32, std::string(1'024, '\0'))
                .tensor("output.weight", {300, 256}, f16, std::string(300 * 256 * 2, '\0'));
        const auto config = read(file);
        ASSERT_TRUE(config) << config.error().what;
        EXPECT_EQ(config->architecture, architecture);
        EXPECT_EQ(config->layers, 2U);
        EXPECT_EQ(config->hidden, 256U);
        EXPECT_EQ(config->ffn, 512U);
        EXPECT_EQ(config->heads, 8U);
        EXPECT_EQ(config->kv_heads, 2U);
        EXPECT_EQ(config->head_dim, 32U);
        EXPECT_EQ(config->vocab, 300U);
        EXPECT_EQ(config->context, 131'072U);
        EXPECT_EQ(config->rope_theta, 500'000.0F);
        EXPECT_EQ(config->rms_norm_epsilon, 1e-5F);
        EXPECT_EQ(config->qkv_bias, architecture == "qwen2");
        EXPECT_EQ(config->tied_head, architecture == "llama");
        EXPECT_THAT(config->eos, ElementsAre(43));
        EXPECT_TRUE(config->rope_divisors.empty());
    }
}

TEST_F(GgufConfig, TakesTheHeadsLengthFromTheMostDirectKey) {
    EXPECT_EQ(read(model("llama").integer("llama.attention.key_length", 64))->head_dim, 64U);
    EXPECT_EQ(read(model("llama").integer("llama.rope.dimension_count", 64))->head_dim, 64U);
    expect_refused(model("llama")
                       .integer("llama.attention.key_length", 64)
                       .integer("llama.rope.dimension_count", 32),
                   "\"llama.rope.dimension_count\" is 32, not the length of a key (64)");
    expect_refused(model("llama").integer("llama.attention.value_length", 64), "value_length");
    expect_refused(model("llama").integer("llama.attention.key_length", 48), "no multiple of 32");
}

TEST_F(GgufConfig, HasItsDefaults) {
    EXPECT_EQ(read(model("llama", "attention.head_count_kv"))->kv_heads, 8U);
    EXPECT_EQ(read(model("llama", "rope.freq_base"))->rope_theta, 10'000.0F);
    for (const char* const key :
         {"block_count", "context_length", "embedding_length", "feed_forward_length",
          "attention.head_count", "attention.layer_norm_rms_epsilon"})
        expect_refused(model("qwen2", key), fmt::format("key \"qwen2.{}\" is missing", key));
    expect_refused(model("qwen2", "embedding"), "\"token_embd.weight\" is missing");
}

TEST_F(GgufConfig, EndsAtEveryTokenThatEndsATurn) {
    EXPECT_THAT(read(model("llama")
                         .integer("tokenizer.ggml.eot_token_id", 9)
                         .integer("tokenizer.ggml.eom_token_id", 43))
                    ->eos,
                ElementsAre(43, 9));
    expect_refused(model("llama", "eos"), "eos_token_id\" is missing");
    expect_refused(model("llama").integer("tokenizer.ggml.eot_token_id", 300), "not below 300");
}

TEST_F(GgufConfig, ReadsTheDivisorsOfFrequencies) {
    std::string divisors;
    for (int i = 0; i < 16; ++i) divisors += raw(1.0F + static_cast<float>(i));
    const auto config = read(model("llama").tensor("rope_freqs.weight", {16}, f32, divisors));
    ASSERT_TRUE(config) << config.error().what;
    ASSERT_EQ(config->rope_divisors.size(), 16U);
    EXPECT_EQ(config->rope_divisors[15], 16.0F);
    expect_refused(model("llama").tensor("rope_freqs.weight", {8}, f32, divisors), "expected [16]");
    expect_refused(model("llama").tensor("rope_freqs.weight", {16}, f16, divisors), "is not F32");
    for (const float bad : {0.0F, -1.0F, std::numeric_limits<float>::infinity()})
        expect_refused(
            model("llama").tensor("rope_freqs.weight", {16}, f32, raw(bad) + divisors.substr(4)),
            "finite numbers above 0");
}

TEST_F(GgufConfig, RefusesOtherScaling) {
    EXPECT_TRUE(read(model("llama").text("llama.rope.scaling.type", "none")));
    EXPECT_TRUE(read(model("llama")
                         .text("llama.rope.scaling.type", "linear")
                         .number("llama.rope.scaling.factor", 1.0F)));
    expect_refused(model("llama").text("llama.rope.scaling.type", "yarn"), "is \"yarn\"");
    expect_refused(model("llama").number("llama.rope.scaling.factor", 4.0F), "linear scaling");
    expect_refused(model("llama").number("llama.rope.scale_linear", 4.0F), "linear scaling");
}

TEST_F(GgufConfig, TakesHowItIsToBeSampledFromTheMetadata) {
    EXPECT_EQ(read(model("llama"))->sampling, SamplingDefaults());
    const auto config = read(model("llama")
                                 .number("general.sampling.temp", 0.6F)
                                 .number("general.sampling.top_p", 0.95F)
                                 .integer("general.sampling.top_k", 20));
    ASSERT_TRUE(config) << config.error().what;
    EXPECT_EQ(config->sampling,
              (SamplingDefaults{.temperature = 0.6F, .top_p = 0.95F, .top_k = 20}));
    expect_refused(model("llama").number("general.sampling.temp", 3.0F),
                   "\"general.sampling.temp\" is 3");
}

TEST_F(GgufConfig, SurvivesDamage) {
    const std::string sound = model("llama").bytes();
    const std::size_t metadata_bytes = sound.size() - 300 * 256 * 2;
    base::testing::expect_survives_damage(std::string_view(sound).substr(0, metadata_bytes),
                                          "m.gguf: ", [&](const std::string& damaged) {
                                              folder_.write("m.gguf",
                                                            damaged + sound.substr(metadata_bytes));
                                              return read_config(folder_.path() + "/m.gguf");
                                          });
}

TEST_F(GgufConfig, RefusesOtherModelsAndNumbersOutOfRange) {
    expect_refused(model("mamba"), "\"mamba\", only \"qwen2\" and \"llama\"");
    expect_refused(GgufBytes(), "\"general.architecture\" is \"\"");
    expect_refused(model("llama", "block_count").integer("llama.block_count", 0), "block_count");
    expect_refused(model("llama", "block_count").integer("llama.block_count", 2'000), "[1, 1024]");
    expect_refused(
        model("llama", "attention.head_count_kv").integer("llama.attention.head_count_kv", 3),
        "no multiple of llama.attention.head_count_kv");
    expect_refused(model("llama", "attention.head_count").integer("llama.attention.head_count", 7),
                   "\"llama.embedding_length\" (256) is no multiple");
    expect_refused(model("llama", "rope.freq_base").number("llama.rope.freq_base", -1),
                   "freq_base");
    expect_refused(model("llama", "rope.freq_base").text("llama.rope.freq_base", "x"), "is text");
    expect_refused(
        model("llama", "embedding").tensor("token_embd.weight", {256}, f16, std::string(512, '\0')),
        "has shape [256]");
}

}  // namespace
}  // namespace holdfast::tensor
