// Compares with what transformers computed in float32 for models/tiny-r1 (tests/golden/).
#include <gtest/gtest.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "inference/backend/cpu/isa.h"
#include "inference/model/model.h"

namespace holdfast::model {
namespace {

namespace dom = simdjson::dom;
using Tokens = std::vector<chat::TokenId>;

Tokens token_list(dom::element value) {
    Tokens tokens;
    for (const dom::element id : value.get_array())
        tokens.push_back(static_cast<chat::TokenId>(id.get_int64()));
    return tokens;
}

struct Computing {
    std::string isa;
    tensor::KvType kv_type = tensor::KvType::f32;
};

class Golden : public ::testing::TestWithParam<Computing> {
protected:
    void SetUp() override {
        const std::string root = HOLDFAST_SOURCE_DIR;
        const std::string file = root + "/tests/golden/tiny_r1_logits.json";
        const std::string folder = root + "/models/tiny-r1";
        ASSERT_FALSE(parser_.load(file).get(root_)) << file << " is missing or damaged";
        auto model = load(folder, {.threads = 2,
                                   .kv_tokens = 2'048,
                                   .isa = GetParam().isa,
                                   .kv_type = GetParam().kv_type});
        ASSERT_TRUE(model) << model.error().what;
        model_ = std::move(model).value();
        for (BlockId i = 0; i < model_->blocks(); ++i) blocks_.push_back(i);
    }

    // Logits of the tokens [position, position + count), all of them wanted.
    std::vector<std::vector<float>> forward(const Tokens& tokens, std::size_t position) {
        std::vector<std::vector<float>> rows;
        while (position < tokens.size()) {
            const std::size_t count = std::min<std::size_t>(512, tokens.size() - position);
            const Slice slice{std::span(tokens).subspan(position, count),
                              static_cast<std::uint32_t>(position), blocks_,
                              static_cast<std::uint32_t>(count)};
            const auto logits = model_->forward({&slice, 1});
            const std::size_t vocab = model_->shape().vocab;
            for (std::size_t i = 0; i < count; ++i)
                rows.emplace_back(logits.begin() + static_cast<std::ptrdiff_t>(i * vocab),
                                  logits.begin() + static_cast<std::ptrdiff_t>((i + 1) * vocab));
            position += count;
        }
        return rows;
    }

    void expect_close(const std::vector<float>& row, dom::element expected) {
        double largest = 0, difference = 0;
        std::size_t i = 0;
        for (const dom::element value : expected["values"].get_array()) {
            ASSERT_LT(i, row.size());
            const double wanted = value.get_double();
            largest = std::max(largest, std::abs(wanted));
            difference = std::max(difference, std::abs(wanted - row[i++]));
        }
        EXPECT_EQ(i, row.size());
        // Kept in 16 bits, keys and values lose what lies below 2^-9 of each number.
        const double bound = GetParam().kv_type == tensor::KvType::f32 ? 1e-4 : 1e-2;
        EXPECT_LT(difference, bound * largest) << "position " << expected["position"].get_int64();
        worst_ = std::max(worst_, difference / largest);
    }

    dom::parser parser_;
    dom::element root_;
    std::unique_ptr<Model> model_;
    std::vector<BlockId> blocks_;
    double worst_ = 0;
};

TEST_P(Golden, HasTheLogitsAndGreedyTokensOfTransformers) {
    ASSERT_EQ(root_["prompts"].get_array().size(), 6U);
    for (const dom::element prompt : root_["prompts"].get_array()) {
        SCOPED_TRACE(std::string(std::string_view(prompt["name"])));
        Tokens tokens = token_list(prompt["ids"]);
        auto rows = forward(tokens, 0);
        for (const dom::element expected : prompt["logits"].get_array())
            expect_close(rows.at(std::uint64_t(expected["position"])), expected);
        for (const chat::TokenId token : token_list(prompt["greedy"])) {
            const auto& last = rows.back();
            const auto best = std::ranges::max_element(last) - last.begin();
            ASSERT_EQ(best, token) << "position " << tokens.size();
            tokens.push_back(token);
            rows = forward(tokens, tokens.size() - 1);
        }
    }
    RecordProperty("largest_relative_difference", std::to_string(worst_));
    std::cout << "largest relative difference " << worst_ << "\n";
}

std::vector<Computing> all_ways() {
    std::vector<Computing> ways{{"", tensor::KvType::bf16}};
    for (const cpu::Isa isa : cpu::all_isas)
        if (cpu::is_supported(isa)) ways.push_back({std::string(cpu::name(isa))});
    return ways;
}

INSTANTIATE_TEST_SUITE_P(Isa, Golden, ::testing::ValuesIn(all_ways()), [](const auto& info) {
    return info.param.isa + "_" + std::string(tensor::name(info.param.kv_type));
});

}  // namespace
}  // namespace holdfast::model
