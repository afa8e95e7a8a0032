// Compares with what transformers computed in float32 for tiny models of every architecture
// (scripts/record_golden_architectures.py), whose weights follow from a seed.
#include <gtest/gtest.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "inference/model/model.h"
#include "inference/model/test_checkpoint.h"

namespace holdfast::model {
namespace {

namespace dom = simdjson::dom;

constexpr const char* golden_file = HOLDFAST_SOURCE_DIR "/tests/golden/architectures.json";

std::uint32_t count(dom::element value) { return static_cast<std::uint32_t>(std::uint64_t(value)); }
float number(dom::element value) { return static_cast<float>(double(value)); }

tensor::Config read_golden_config(dom::element from) {
    tensor::Config config{.architecture = std::string(std::string_view(from["architecture"])),
                          .layers = count(from["layers"]),
                          .hidden = count(from["hidden"]),
                          .heads = count(from["heads"]),
                          .kv_heads = count(from["kv_heads"]),
                          .head_dim = count(from["head_dim"]),
                          .ffn = count(from["ffn"]),
                          .vocab = count(from["vocab"]),
                          .context = count(from["context"]),
                          .rope_theta = number(from["rope_theta"]),
                          .rms_norm_epsilon = number(from["rms_norm_epsilon"]),
                          .tied_head = bool(from["tied_head"]),
                          .eos = {0}};
    config.qkv_bias = config.architecture == "qwen2";
    dom::element scaling;
    if (!from["rope_scaling"].get(scaling))
        config.rope_scaling = {.factor = number(scaling["factor"]),
                               .low_frequency_factor = number(scaling["low_frequency_factor"]),
                               .high_frequency_factor = number(scaling["high_frequency_factor"]),
                               .original_context = count(scaling["original_context"])};
    return config;
}

std::vector<chat::TokenId> token_list(dom::element value) {
    std::vector<chat::TokenId> tokens;
    for (const dom::element id : value.get_array())
        tokens.push_back(static_cast<chat::TokenId>(id.get_int64()));
    return tokens;
}

// One golden model, loaded under some options, with one sequence.
class Subject {
public:
    Subject(dom::element golden, LoadOptions options) {
        const tensor::Config config = read_golden_config(golden["config"]);
        write_checkpoint(folder_, config, random_tensors(config, count(golden["seed"])));
        options.kv_tokens = 256;
        options.batch_tokens_max = 128;
        auto model = load(folder_.path(), options);
        if (!model) ADD_FAILURE() << model.error().what;
        model_ = std::move(model).value();
        for (BlockId i = 0; i < model_->blocks(); ++i) blocks_.push_back(i);
    }

    // Logits of all the tokens, which stand at `position` and on.
    std::vector<std::vector<float>> forward(std::span<const chat::TokenId> tokens,
                                            std::uint32_t position) {
        const Slice slice{tokens, position, blocks_, static_cast<std::uint32_t>(tokens.size())};
        const auto logits = model_->forward({&slice, 1});
        const std::size_t vocab = model_->shape().vocab;
        std::vector<std::vector<float>> rows;
        for (std::size_t i = 0; i < tokens.size(); ++i)
            rows.emplace_back(logits.begin() + static_cast<std::ptrdiff_t>(i * vocab),
                              logits.begin() + static_cast<std::ptrdiff_t>((i + 1) * vocab));
        return rows;
    }

private:
    base::testing::TemporaryFolder folder_;
    std::unique_ptr<Model> model_;
    std::vector<BlockId> blocks_;
};

// The largest difference, relative to the largest logit.
double difference(const std::vector<float>& row, dom::element expected) {
    double largest = 0, worst = 0;
    std::size_t i = 0;
    for (const dom::element value : expected["values"].get_array()) {
        largest = std::max(largest, std::abs(double(value)));
        worst = std::max(worst, std::abs(double(value) - row.at(i++)));
    }
    EXPECT_EQ(i, row.size());
    return worst / largest;
}

class GoldenArchitectures : public ::testing::Test {
protected:
    void SetUp() override { ASSERT_FALSE(parser_.load(golden_file).get(root_)); }

    template <class Body>
    void for_each_model(const Body& body) {
        std::size_t models = 0;
        for (const dom::element golden : root_["models"].get_array()) {
            SCOPED_TRACE(std::string(std::string_view(golden["name"])));
            body(golden);
            ++models;
        }
        EXPECT_EQ(models, 5);
    }

    dom::parser parser_;
    dom::element root_;
};

// Float32 in another order of sums: 1e-4 is stated, 1e-5 is seen.
TEST_F(GoldenArchitectures, HaveTheLogitsOfTransformers) {
    for_each_model([](dom::element golden) {
        Subject subject(golden, {});
        const auto rows = subject.forward(token_list(golden["ids"]), 0);
        for (const dom::element expected : golden["logits"].get_array()) {
            const auto& row = rows.at(std::uint64_t(expected["position"]));
            EXPECT_LT(difference(row, expected), 1e-4) << std::int64_t(expected["position"]);
        }
    });
}

TEST_F(GoldenArchitectures, SayTheGreedyTokensOfTransformersInEveryFloatFormat) {
    for (const tensor::DataType type :
         {tensor::DataType::bf16, tensor::DataType::f16, tensor::DataType::f32}) {
        for_each_model([&](dom::element golden) {
            Subject subject(golden, {.threads = 2, .weights = type});
            auto tokens = token_list(golden["ids"]);
            auto rows = subject.forward(tokens, 0);
            for (const chat::TokenId token : token_list(golden["greedy"])) {
                const auto best = std::ranges::max_element(rows.back()) - rows.back().begin();
                ASSERT_EQ(best, token) << tensor::name(type) << ", position " << tokens.size();
                tokens.push_back(token);
                rows = subject.forward({&tokens.back(), 1},
                                       static_cast<std::uint32_t>(tokens.size() - 1));
            }
        });
    }
}

// What is lost by keeping keys and values in fewer bits: 2^-9 and 1/254 of the largest number of a
// head, before sums over many of them.
TEST_F(GoldenArchitectures, MoveLittleWithNarrowKeysAndValues) {
    const std::pair<tensor::KvType, double> bounds[] = {{tensor::KvType::bf16, 0.01},
                                                        {tensor::KvType::q8, 0.05}};
    for (const auto& [type, bound] : bounds) {
        for_each_model([&](dom::element golden) {
            Subject subject(golden, {.kv_type = type});
            const auto rows = subject.forward(token_list(golden["ids"]), 0);
            double worst = 0;
            for (const dom::element expected : golden["logits"].get_array())
                worst = std::max(
                    worst, difference(rows.at(std::uint64_t(expected["position"])), expected));
            EXPECT_LT(worst, bound);
            EXPECT_GT(worst, 1e-6) << "is it kept in fewer bits at all?";
        });
    }
}

}  // namespace
}  // namespace holdfast::model
