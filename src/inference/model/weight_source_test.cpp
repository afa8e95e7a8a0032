// What sources give to sinks: every weight once, in one order, whatever the file keeps them in.
#include "inference/model/weight_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "inference/model/random.h"
#include "inference/model/test_gguf_checkpoint.h"
#include "inference/tensor/quantize.h"

namespace holdfast::model {
namespace {

using tensor::DataType;
using tensor::Role;
using ::testing::ElementsAre;

// Keeps everything as numbers.
class Recorder final : public tensor::WeightSink {
public:
    struct Given {
        Role role = Role::head;
        std::uint32_t layer = 0;
        DataType type = DataType::f32;
        std::vector<std::vector<float>> rows;
    };

    explicit Recorder(bool with_values) : with_values_(with_values) {}

    base::Result<> vector(Role role, std::uint32_t layer, std::uint32_t size,
                          const VectorOf& values) override {
        Given given{role, layer};
        if (with_values_) {
            given.rows.push_back(values());
            EXPECT_EQ(given.rows[0].size(), size);
        }
        all.push_back(std::move(given));
        return {};
    }
    base::Result<> matrix(Role role, std::uint32_t layer, DataType type, std::uint32_t outputs,
                          std::uint32_t inputs, const tensor::RowOf& row_of) override {
        all.push_back({role, layer, type, rows_of(outputs, inputs, row_of)});
        return {};
    }
    base::Result<> table(DataType type, std::uint32_t rows, std::uint32_t columns,
                         const tensor::RowOf& row_of) override {
        tables.push_back({Role::head, 0, type, rows_of(rows, columns, row_of)});
        return {};
    }

    std::vector<std::pair<Role, std::uint32_t>> order() const {
        std::vector<std::pair<Role, std::uint32_t>> order;
        for (const Given& one : all) order.emplace_back(one.role, one.layer);
        return order;
    }
    std::vector<const Given*> of(Role role, std::uint32_t layer) const {
        std::vector<const Given*> found;
        for (const Given& one : all)
            if (one.role == role && one.layer == layer) found.push_back(&one);
        return found;
    }

    std::vector<Given> all, tables;

private:
    std::vector<std::vector<float>> rows_of(std::uint32_t outputs, std::uint32_t inputs,
                                            const tensor::RowOf& row_of) const {
        std::vector<std::vector<float>> rows;
        for (std::uint32_t i = 0; with_values_ && i < outputs; ++i) {
            const tensor::SourceRow row = row_of(i);
            tensor::dequantize(row.type, row.bytes, rows.emplace_back(inputs));
        }
        return rows;
    }

    bool with_values_;
};

class WeightSourceTest : public ::testing::Test {
protected:
    std::unique_ptr<WeightSource> open(const std::string& path) {
        auto source = open_weights(path);
        if (!source) ADD_FAILURE() << source.error().what;
        return source ? *std::move(source) : nullptr;
    }
    std::unique_ptr<WeightSource> folder() {
        write_checkpoint(folder_, config_, tensors_);
        return open(folder_.path());
    }
    std::unique_ptr<WeightSource> file(const TypeOf& type_of) {
        folder_.write("model.gguf", gguf_bytes(config_, tensors_, type_of));
        return open(folder_.path() + "/model.gguf");
    }
    Recorder given_by(const WeightSource& source) {
        Recorder recorder(true);
        const auto given = source.give({}, recorder, *pool_, {});
        EXPECT_TRUE(given) << given.error().what;
        return recorder;
    }
    // Rows of the named tensors, one after the other.
    std::vector<std::vector<float>> rows(const std::vector<std::string>& names) {
        std::vector<std::vector<float>> rows;
        for (const std::string& name : names) {
            const TestTensor& tensor = tensors_.at(name);
            const auto inputs = static_cast<std::ptrdiff_t>(tensor.shape.back());
            for (auto at = tensor.values.begin(); at != tensor.values.end(); at += inputs)
                rows.emplace_back(at, at + inputs);
        }
        return rows;
    }

    tensor::Config config_ = test_config();
    TestTensors tensors_ = random_tensors(config_, 4);
    base::testing::TemporaryFolder folder_;
    std::unique_ptr<cores::Pool> pool_ = *cores::Pool::make(2);
};

TEST_F(WeightSourceTest, GivesEveryWeightOnceLayerAfterLayer) {
    config_.layers = 1;
    tensors_ = random_tensors(config_, 4);
    const Recorder given = given_by(*folder());
    EXPECT_THAT(given.order(),
                ElementsAre(std::pair(Role::attention_norm, 0), std::pair(Role::qkv, 0),
                            std::pair(Role::qkv_bias, 0), std::pair(Role::attention_output, 0),
                            std::pair(Role::ffn_norm, 0), std::pair(Role::gate_up, 0),
                            std::pair(Role::down, 0), std::pair(Role::final_norm, 0),
                            std::pair(Role::head, 0)));
    ASSERT_EQ(given.tables.size(), 1U);
    EXPECT_EQ(given.tables[0].rows, rows({"model.embed_tokens.weight"}));
    EXPECT_EQ(given.all.back().rows, rows({"lm_head.weight"}));
}

TEST_F(WeightSourceTest, GivesQueriesKeysAndValuesInThisOrderAndGatesBeforeUps) {
    const Recorder given = given_by(*folder());
    const std::string attention = "model.layers.2.self_attn.", mlp = "model.layers.2.mlp.";
    EXPECT_EQ(given.of(Role::qkv, 2).at(0)->rows,
              rows({attention + "q_proj.weight", attention + "k_proj.weight",
                    attention + "v_proj.weight"}));
    EXPECT_EQ(given.of(Role::gate_up, 2).at(0)->rows,
              rows({mlp + "gate_proj.weight", mlp + "up_proj.weight"}));
    std::vector<float> bias;
    for (const char* const part : {"q", "k", "v"}) {
        const auto& own = tensors_.at(attention + part + "_proj.bias").values;
        bias.insert(bias.end(), own.begin(), own.end());
    }
    EXPECT_EQ(given.of(Role::qkv_bias, 2).at(0)->rows.at(0), bias);
}

TEST_F(WeightSourceTest, GivesLlamasHeadsInOneOrderHoweverTheFileKeepsThem) {
    config_.architecture = "llama";
    config_.qkv_bias = false;
    tensors_ = random_tensors(config_, 5);
    const auto in_folder = given_by(*folder());
    const auto in_file = given_by(*file([](const std::string&) { return DataType::bf16; }));
    for (std::uint32_t layer = 0; layer < config_.layers; ++layer)
        EXPECT_EQ(in_file.of(Role::qkv, layer).at(0)->rows,
                  in_folder.of(Role::qkv, layer).at(0)->rows);
}

TEST_F(WeightSourceTest, MakesOneMatrixOfNeighboursOfOneType) {
    const auto source = file([](const std::string& name) {
        return name == "model.layers.0.self_attn.v_proj.weight" ? DataType::f16
               : name == "model.layers.1.mlp.up_proj.weight"    ? DataType::f16
                                                                : DataType::bf16;
    });
    Recorder listed(false);
    ASSERT_TRUE(source->list({}, listed));
    const auto qkv = listed.of(Role::qkv, 0);
    ASSERT_EQ(qkv.size(), 2U);
    EXPECT_EQ(qkv[0]->type, DataType::bf16);
    EXPECT_EQ(qkv[1]->type, DataType::f16);
    EXPECT_EQ(listed.of(Role::qkv, 1).size(), 1U);
    EXPECT_EQ(listed.of(Role::gate_up, 1).at(0)->type, DataType::f32);  // holds both
}

TEST_F(WeightSourceTest, GivesNoTableWhereTheHeadIsTiedToIt) {
    config_.tied_head = true;
    tensors_ = random_tensors(config_, 6);
    const Recorder given = given_by(*folder());
    EXPECT_TRUE(given.tables.empty());
    EXPECT_EQ(given.all.back().rows, rows({"model.embed_tokens.weight"}));
}

TEST_F(WeightSourceTest, ListsWhatItWouldGive) {
    const auto in_folder = folder();
    const auto random = random_weights(config_, DataType::bf16);
    for (const WeightSource* const source : {in_folder.get(), random.get()}) {
        for (const std::optional<DataType> converted :
             {std::optional<DataType>(), std::optional(DataType::f32)}) {
            Recorder listed(false), given(true);
            ASSERT_TRUE(source->list(converted, listed));
            ASSERT_TRUE(source->give(converted, given, *pool_, {}));
            EXPECT_EQ(listed.order(), given.order());
            EXPECT_EQ(listed.all.back().type, converted.value_or(DataType::bf16));
        }
    }
}

}  // namespace
}  // namespace holdfast::model
