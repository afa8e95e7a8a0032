#include "tools/convert/quantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/base/random.h"
#include "common/base/test_folder.h"
#include "inference/tensor/checkpoint.h"
#include "inference/tensor/config.h"
#include "inference/tensor/gguf.h"
#include "inference/tensor/quantize.h"
#include "tools/convert/test_folder_model.h"

namespace holdfast::convert {
namespace {

using tensor::DataType;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct TypeBound {
    DataType type;
    double error;
};
// Of normally distributed numbers.
constexpr TypeBound bounds[] = {{DataType::bf16, 0.002}, {DataType::f16, 0.0003},
                                {DataType::q8_0, 0.007}, {DataType::q4_0, 0.1},
                                {DataType::q4_k, 0.075}, {DataType::q5_k, 0.037},
                                {DataType::q6_k, 0.02}};

const std::string tiny_r1 = HOLDFAST_SOURCE_DIR "/models/tiny-r1";

std::string content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::stringstream whole;
    whole << file.rdbuf();
    return whole.str();
}

std::vector<float> numbers(const tensor::Tensor& tensor) {
    std::size_t count = 1;
    for (const std::uint64_t dimension : tensor.shape) count *= dimension;
    std::vector<float> values(count);
    tensor::dequantize(tensor.type, tensor.bytes.data(), values);
    return values;
}

double relative_error(const std::vector<float>& wanted, const std::vector<float>& found) {
    double error = 0, square = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        error += std::pow(double{wanted[i]} - double{found[i]}, 2);
        square += std::pow(double{wanted[i]}, 2);
    }
    return std::sqrt(error / square);
}

class Quantize : public ::testing::Test {
protected:
    base::Result<QuantizeReport> run(const std::string& in, DataType type) {
        options_.in = in;
        options_.out = out_;
        options_.type = type;
        return quantize(options_);
    }
    // Every tensor of `in` is in the output, within the bound of its type.
    void expect_close(const std::string& in) {
        const auto before = tensor::Checkpoint::open(in), after = tensor::Checkpoint::open(out_);
        ASSERT_TRUE(before && after) << after.error().what;
        ASSERT_EQ(before->tensors().size(), after->tensors().size());
        for (const tensor::Tensor& wanted : before->tensors()) {
            const tensor::Tensor* const found = after->find(wanted.name);
            ASSERT_NE(found, nullptr) << wanted.name;
            EXPECT_EQ(found->shape, wanted.shape);
            double bound = 0;
            for (const auto& [type, error] : bounds)
                if (type == found->type) bound = error;
            EXPECT_LE(relative_error(numbers(wanted), numbers(*found)), bound) << wanted.name;
        }
    }

    base::testing::TemporaryFolder folder_;
    std::string out_ = folder_.path() + "/out.gguf";
    QuantizeOptions options_{.threads = 2};
};

void expect_equal(const tensor::Config& a, const tensor::Config& b) {
    EXPECT_EQ(a.architecture, b.architecture);
    EXPECT_THAT(std::vector({a.layers, a.hidden, a.heads, a.kv_heads, a.head_dim, a.ffn, a.vocab,
                             a.context}),
                ElementsAre(b.layers, b.hidden, b.heads, b.kv_heads, b.head_dim, b.ffn, b.vocab,
                            b.context));
    EXPECT_EQ(a.rope_theta, b.rope_theta);
    EXPECT_EQ(a.rms_norm_epsilon, b.rms_norm_epsilon);
    EXPECT_EQ(a.qkv_bias, b.qkv_bias);
    EXPECT_EQ(a.tied_head, b.tied_head);
    EXPECT_EQ(a.eos, b.eos);
}

TEST_F(Quantize, WritesTinyR1InEveryType) {
    const auto config = tensor::read_config(tiny_r1);
    ASSERT_TRUE(config) << config.error().what;
    options_.replace = true;
    for (const auto& [type, error] : bounds) {
        const auto report = run(tiny_r1, type);
        ASSERT_TRUE(report) << report.error().what;
        EXPECT_EQ(report->file_bytes, std::filesystem::file_size(out_));
        EXPECT_FALSE(report->was_quantized);
        expect_close(tiny_r1);
        const auto written = tensor::read_config(out_);
        ASSERT_TRUE(written) << written.error().what;
        expect_equal(*written, *config);
    }
}

TEST_F(Quantize, CarriesTheTokenizerOfTinyR1) {
    ASSERT_TRUE(run(tiny_r1, DataType::q8_0));
    const auto file = tensor::Gguf::open(out_);
    ASSERT_TRUE(file) << file.error().what;
    simdjson::dom::parser parser;
    const simdjson::dom::element tokenizer = parser.load(tiny_r1 + "/tokenizer.json");
    const auto tokens = *file->texts("tokenizer.ggml.tokens").value();
    ASSERT_EQ(tokens.size(), 1'024U);
    for (const auto [text, id] : tokenizer["model"]["vocab"].get_object())
        ASSERT_EQ(tokens[id.get_uint64()], text);
    const auto types = *file->integers("tokenizer.ggml.token_type").value();
    EXPECT_EQ(types[0], 1);
    EXPECT_EQ(tokens[995], "<｜begin▁of▁sentence｜>");
    EXPECT_EQ(types[995], 3);
    EXPECT_EQ(tokens[993], "<｜User｜>");
    EXPECT_EQ(types[993], 3);  // no special token in tokenizer.json, but one by its name
    EXPECT_EQ(tokens[997], "<think>");
    EXPECT_EQ(types[997], 4);
    EXPECT_EQ(tokens[1'023], "[PAD1023]");
    EXPECT_EQ(types[1'023], 5);
    const auto merges = *file->texts("tokenizer.ggml.merges").value();
    ASSERT_EQ(merges.size(), tokenizer["model"]["merges"].get_array().size());
    EXPECT_EQ(std::ranges::count(merges[0], ' '), 1);
    EXPECT_EQ(file->text("tokenizer.ggml.model").value(), "gpt2");
    EXPECT_EQ(file->text("tokenizer.ggml.pre").value(), "deepseek-r1-qwen");
    EXPECT_EQ(file->integer("tokenizer.ggml.bos_token_id").value(), 995U);
    EXPECT_EQ(file->integer("tokenizer.ggml.eos_token_id").value(), 992U);
    EXPECT_EQ(file->integer("tokenizer.ggml.padding_token_id").value(), 992U);
    EXPECT_EQ(file->flag("tokenizer.ggml.add_bos_token").value(), true);
    const simdjson::dom::element options = parser.load(tiny_r1 + "/tokenizer_config.json");
    EXPECT_EQ(file->text("tokenizer.chat_template").value(),
              options["chat_template"].get_string().value());
}

TEST_F(Quantize, GivesTheHeadMoreBitsAndReportsEveryType) {
    const FolderModel model({.architecture = "qwen2"});
    const auto report = run(model.path(), DataType::q4_k);
    ASSERT_TRUE(report) << report.error().what;
    expect_close(model.path());
    const auto file = tensor::Checkpoint::open(out_);
    EXPECT_EQ(file->find("lm_head.weight")->type, DataType::q6_k);
    EXPECT_EQ(file->find("model.embed_tokens.weight")->type, DataType::q4_k);
    EXPECT_EQ(file->find("model.norm.weight")->type, DataType::f32);
    // Rows of 352 are no whole number of 256.
    EXPECT_EQ(file->find("model.layers.1.mlp.down_proj.weight")->type, DataType::q8_0);
    EXPECT_EQ(report->fallbacks, 2U);
    ASSERT_EQ(report->types.size(), 4U);
    std::size_t tensors = 0;
    for (const TypeReport& type : report->types) {
        tensors += type.tensors;
        for (const auto& [bound, error] : bounds)
            if (bound == type.type) EXPECT_LE(type.relative_error, error);
        if (type.type == DataType::f32)
            EXPECT_EQ(type.relative_error, 0);
        else
            EXPECT_GT(type.relative_error, 0);
    }
    EXPECT_EQ(tensors, file->tensors().size());
    EXPECT_GT(report->bits_per_weight, 4.5);
    EXPECT_LT(report->bits_per_weight, 7);
}

TEST_F(Quantize, FallsBackToF16WhereNoBlockFits) {
    const FolderModel model({.architecture = "qwen2", .ffn = 336});
    ASSERT_TRUE(run(model.path(), DataType::q4_0));
    const auto file = tensor::Checkpoint::open(out_);
    EXPECT_EQ(file->find("model.layers.0.mlp.down_proj.weight")->type, DataType::f16);
    EXPECT_EQ(file->find("model.layers.0.mlp.up_proj.weight")->type, DataType::q4_0);
}

TEST_F(Quantize, InterleavesTheHeadsOfLlamaAndWritesItsFrequencies) {
    const FolderModel model({.architecture = "llama", .tied_head = true});
    ASSERT_TRUE(run(model.path(), DataType::bf16));
    const auto before = tensor::Checkpoint::open(model.path()),
               after = tensor::Checkpoint::open(out_);
    ASSERT_TRUE(before && after);
    EXPECT_TRUE(after->has_interleaved_heads());
    constexpr std::size_t head_dim = 64, hidden = 256;
    for (const std::string part : {"q", "k", "v"}) {
        const std::string name = "model.layers.1.self_attn." + part + "_proj.weight";
        const auto wanted = numbers(*before->find(name)), found = numbers(*after->find(name));
        for (std::size_t row = 0; row < wanted.size() / hidden; ++row) {
            const std::size_t head = row / head_dim * head_dim, i = row % head_dim;
            // As the contract of has_interleaved_heads says.
            const std::size_t place =
                part == "v" ? row : head + (i < head_dim / 2 ? 2 * i : 2 * (i - head_dim / 2) + 1);
            ASSERT_TRUE(std::equal(wanted.begin() + row * hidden,
                                   wanted.begin() + (row + 1) * hidden,
                                   found.begin() + place * hidden))
                << part << row;
        }
    }
    const auto config = tensor::read_config(out_);
    ASSERT_TRUE(config) << config.error().what;
    EXPECT_TRUE(config->tied_head);
    EXPECT_FALSE(config->qkv_bias);
    ASSERT_EQ(config->rope_divisors.size(), 32U);
    EXPECT_EQ(config->rope_divisors.front(), 1.0F);  // short waves stay,
    EXPECT_EQ(config->rope_divisors.back(), 8.0F);   // long ones are stretched,
    EXPECT_THAT(config->rope_divisors, Contains(AllOf(::testing::Gt(1.1F), ::testing::Lt(7.9F))));
    EXPECT_TRUE(std::ranges::is_sorted(config->rope_divisors));

    // Once more from there: nothing moves again, and metadata and divisors stay.
    const std::string first = out_;
    out_ = folder_.path() + "/again.gguf";
    ASSERT_TRUE(run(first, DataType::bf16));
    const auto again = tensor::Checkpoint::open(out_);
    for (const tensor::Tensor& tensor : after->tensors())
        EXPECT_TRUE(std::ranges::equal(tensor.bytes, again->find(tensor.name)->bytes));
    EXPECT_EQ(tensor::read_config(out_)->rope_divisors, config->rope_divisors);
}

TEST_F(Quantize, TakesTheTokenizerOfLlama) {
    const FolderModel model({.architecture = "llama", .eos = "[3, 5]"});
    ASSERT_TRUE(run(model.path(), DataType::q8_0));
    const auto file = tensor::Gguf::open(out_);
    EXPECT_EQ(file->text("tokenizer.ggml.pre").value(), "llama-bpe");
    EXPECT_THAT(*file->texts("tokenizer.ggml.merges").value(), ElementsAre("a b"));
    EXPECT_EQ(file->integer("tokenizer.ggml.eos_token_id").value(), 3U);
    EXPECT_EQ(file->integer("tokenizer.ggml.eot_token_id").value(), 5U);
    EXPECT_EQ(file->flag("tokenizer.ggml.add_bos_token").value(), true);  // the post-processor's
    EXPECT_EQ(file->text("tokenizer.chat_template").value(), "the file's template");
    EXPECT_THAT(tensor::read_config(out_)->eos, ElementsAre(3, 5));
}

TEST_F(Quantize, GoesOnFromAGgufFileWithItsMetadata) {
    ASSERT_TRUE(run(tiny_r1, DataType::q8_0));
    const std::string first = out_;
    out_ = folder_.path() + "/second.gguf";
    const auto report = run(first, DataType::q4_0);
    ASSERT_TRUE(report) << report.error().what;
    EXPECT_TRUE(report->was_quantized);
    const auto before = tensor::Gguf::open(first), after = tensor::Gguf::open(out_);
    EXPECT_EQ(after->integer("general.file_type").value(), 2U);
    ASSERT_EQ(before->entries().size(), after->entries().size());
    for (std::size_t i = 0; i < before->entries().size(); ++i)
        if (before->entries()[i].key != "general.file_type")
            EXPECT_TRUE(std::ranges::equal(before->entries()[i].value, after->entries()[i].value));
}

TEST_F(Quantize, KeepsTheBitsOfWhatHasTheTypeAlready) {
    ASSERT_TRUE(run(tiny_r1, DataType::q8_0));
    const std::string first = out_;
    out_ = folder_.path() + "/second.gguf";
    ASSERT_TRUE(run(first, DataType::q8_0));
    EXPECT_TRUE(content(first) == content(out_));
}

TEST_F(Quantize, GivesTheSameFileWithAnyNumberOfThreads) {
    const FolderModel model({.architecture = "qwen2"});
    ASSERT_TRUE(run(model.path(), DataType::q5_k));
    const std::string first = out_;
    out_ = folder_.path() + "/second.gguf";
    options_.threads = 5;
    ASSERT_TRUE(run(model.path(), DataType::q5_k));
    EXPECT_TRUE(content(first) == content(out_));
}

TEST_F(Quantize, RefusesToOverwrite) {
    ASSERT_TRUE(run(tiny_r1, DataType::q8_0));
    EXPECT_THAT(run(tiny_r1, DataType::q8_0).error().what, HasSubstr("out.gguf: exists already"));
    options_.replace = true;
    EXPECT_THAT(run(out_, DataType::q8_0).error().what, HasSubstr("is the input itself"));
    std::filesystem::create_symlink(out_, folder_.path() + "/link.gguf");
    EXPECT_THAT(run(folder_.path() + "/link.gguf", DataType::q8_0).error().what,
                HasSubstr("is the input itself"));
    out_ = folder_.path();
    EXPECT_THAT(run(tiny_r1, DataType::q8_0).error().what, HasSubstr("is a folder"));
}

TEST_F(Quantize, LeavesNothingBehindWhenItIsGivenUp) {
    for (const Step when : {Step::writing, Step::checking}) {
        options_.on_progress = [&](Step step, double share) { return step != when || share < 0.5; };
        const auto report = run(tiny_r1, DataType::q8_0);
        ASSERT_FALSE(report);
        EXPECT_EQ(report.error().code, base::Code::cancelled);
        EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
    }
}

TEST_F(Quantize, TellsItsProgress) {
    std::vector<std::pair<Step, double>> seen;
    options_.on_progress = [&](Step step, double share) {
        seen.emplace_back(step, share);
        return true;
    };
    ASSERT_TRUE(run(tiny_r1, DataType::q8_0));
    EXPECT_TRUE(std::ranges::is_sorted(seen));
    EXPECT_THAT(seen, AllOf(Contains(std::pair(Step::writing, 1.0)),
                            Contains(std::pair(Step::checking, 1.0))));
}

TEST_F(Quantize, NamesTheTensorWhoseNumbersCannotBeHeld) {
    const FolderModel infinite({.architecture = "qwen2", .spoilt_bits = 0x7f80});
    EXPECT_THAT(run(infinite.path(), DataType::q8_0).error().what,
                AllOf(HasSubstr("model.layers.1.mlp.up_proj.weight"), HasSubstr("infinite")));
    const FolderModel large({.architecture = "qwen2", .spoilt_bits = 0x7f00});
    for (const DataType type : {DataType::f16, DataType::q8_0, DataType::q4_k, DataType::q6_k})
        EXPECT_THAT(run(large.path(), type).error().what,
                    AllOf(HasSubstr("\"blk.1.ffn_up.weight\" holds numbers too large for"),
                          HasSubstr(tensor::name(type))));
    EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
    EXPECT_TRUE(run(large.path(), DataType::bf16));
}

TEST_F(Quantize, NamesWhatIsWrongWithATokenizer) {
    const FolderModel model({.architecture = "llama"});
    const auto expect_refused = [&](const char* file, const char* json, const char* reason) {
        const std::string kept = content(model.path() + "/" + file);
        std::ofstream(model.path() + "/" + file) << json;
        const auto report = run(model.path(), DataType::q8_0);
        std::ofstream(model.path() + "/" + file) << kept;
        ASSERT_FALSE(report) << reason;
        EXPECT_THAT(report.error().what, AllOf(HasSubstr(file), HasSubstr(reason)));
    };
    const char* const file = "tokenizer.json";
    expect_refused(file, "{", "not JSON");
    expect_refused(file, "[]", "model.vocab");
    expect_refused(file, R"({"model":{"type":"Unigram"}})", "model.type");
    expect_refused(file, R"({"model":{"vocab":{"a":-1}}})", "model.vocab");
    expect_refused(file, R"({"model":{"vocab":{"a":300}}})", "the id 300, but the model has 300");
    expect_refused(file, R"({"model":{"vocab":{"a":1,"b":1}}})", "gives the id 1 twice");
    expect_refused(file, R"({"model":{"vocab":{"a":1}},"added_tokens":[{"id":2}]})",
                   "added_tokens");
    expect_refused(file, R"({"model":{"vocab":{"a":1}}})", "pre_tokenizer");
    expect_refused(file,
                   R"({"model":{"vocab":{"a":1}},"pre_tokenizer":{"pattern":{"Regex":"x+"}}})",
                   "unknown pattern x+");
    expect_refused("tokenizer_config.json", R"({"bos_token":"zzz"})", "bos_token");
}

}  // namespace
}  // namespace holdfast::convert
