#include "inference/model/random.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "inference/model/random_rows.h"

namespace holdfast::model {
namespace {

using tensor::DataType;
using tensor::Role;

// Each matrix is unlike all others.
class RandomWeights final : public WeightSource {
public:
    RandomWeights(tensor::Config config, DataType type) : config_(std::move(config)), type_(type) {}

    const tensor::Config& config() const override { return config_; }

    base::Result<> list(std::optional<DataType> converted,
                        tensor::WeightSink& sink) const override {
        return make(converted.value_or(type_), sink, {});
    }

    base::Result<Given> give(std::optional<DataType> converted, tensor::WeightSink& sink,
                             cores::Pool& /*pool*/,
                             const std::function<void(double share)>& on_progress) const override {
        const DataType type = converted.value_or(type_);
        HF_TRY(make(type, sink, on_progress));
        Given given{Fingerprint(config_, false), type};
        given.fingerprint.add_matrix(head_type(type, config_.hidden));
        return given;
    }

private:
    base::Result<> make(DataType type, tensor::WeightSink& sink,
                        const std::function<void(double share)>& on_progress) const;

    tensor::Config config_;
    DataType type_;
};

// Gives one weight after the other to a sink.
class Giver {
public:
    explicit Giver(tensor::WeightSink& sink) : sink_(sink) {}

    base::Result<> matrix(Role role, std::uint32_t layer, const RandomRows& rows,
                          std::uint32_t outputs) {
        return sink_.matrix(role, layer, rows.type(), outputs, rows.inputs(), next(rows));
    }
    base::Result<> table(const RandomRows& rows, std::uint32_t count) {
        return sink_.table(rows.type(), count, rows.inputs(), next(rows));
    }
    base::Result<> vector(Role role, std::uint32_t layer, std::uint32_t size, float value) {
        return sink_.vector(role, layer, size, [=] { return std::vector<float>(size, value); });
    }

private:
    tensor::RowOf next(const RandomRows& rows) {
        return [&rows, number = given_++](std::uint32_t row) { return rows.row(number, row); };
    }

    tensor::WeightSink& sink_;
    std::uint32_t given_ = 0;  // matrices and tables
};

base::Result<> RandomWeights::make(DataType type, tensor::WeightSink& sink,
                                   const std::function<void(double share)>& on_progress) const {
    HF_TRY(check_blocks(config_, type));
    const DataType last = head_type(type, config_.hidden);
    const std::uint32_t hidden = config_.hidden, attended = config_.heads * config_.head_dim;
    const std::uint32_t qkv = attended + 2 * config_.kv_heads * config_.head_dim;
    const RandomRows of_hidden(type, hidden, variance_for(hidden));
    const RandomRows of_attended(type, attended, variance_for(attended));
    const RandomRows of_ffn(type, config_.ffn, variance_for(config_.ffn));
    const RandomRows embedding(last, hidden, 1), head(last, hidden, variance_for(hidden));
    Giver giver(sink);
    if (!config_.tied_head) HF_TRY(giver.table(embedding, config_.vocab));
    for (std::uint32_t i = 0; i < config_.layers; ++i) {
        HF_TRY(giver.vector(Role::attention_norm, i, hidden, 1.0F));
        HF_TRY(giver.matrix(Role::qkv, i, of_hidden, qkv));
        if (config_.qkv_bias) HF_TRY(giver.vector(Role::qkv_bias, i, qkv, 0.125F));
        HF_TRY(giver.matrix(Role::attention_output, i, of_attended, hidden));
        HF_TRY(giver.vector(Role::ffn_norm, i, hidden, 1.0F));
        HF_TRY(giver.matrix(Role::gate_up, i, of_hidden, 2 * config_.ffn));
        HF_TRY(giver.matrix(Role::down, i, of_ffn, hidden));
        if (on_progress) on_progress((i + 1.0) / (config_.layers + 1));
    }
    HF_TRY(giver.vector(Role::final_norm, 0, hidden, 1.0F));
    HF_TRY(giver.matrix(Role::head, 0, head, config_.vocab));
    if (on_progress) on_progress(1);
    return {};
}

// From the config.json files of the distills.
struct NamedShape {
    std::string_view name;
    bool llama;
    std::uint32_t layers, hidden, heads, kv_heads, ffn, vocab;
    float rope_theta, epsilon;
};
constexpr NamedShape shapes[] = {
    {"r1-1.5b", false, 28, 1'536, 12, 2, 8'960, 151'936, 1e4F, 1e-6F},
    {"r1-7b", false, 28, 3'584, 28, 4, 18'944, 152'064, 1e4F, 1e-6F},
    {"r1-14b", false, 48, 5'120, 40, 8, 13'824, 152'064, 1e6F, 1e-5F},
    {"r1-32b", false, 64, 5'120, 40, 8, 27'648, 152'064, 1e6F, 1e-5F},
    {"r1-llama-8b", true, 32, 4'096, 32, 8, 14'336, 128'256, 5e5F, 1e-5F},
    {"r1-llama-70b", true, 80, 8'192, 64, 8, 28'672, 128'256, 5e5F, 1e-5F},
};

}  // namespace

std::span<const std::string_view> shape_names() {
    static constexpr auto names = [] {
        std::array<std::string_view, std::size(shapes)> list{};
        std::ranges::transform(shapes, list.begin(), &NamedShape::name);
        return list;
    }();
    return names;
}

std::optional<tensor::Config> find_shape(std::string_view name) {
    const auto* const found = std::ranges::find(shapes, name, &NamedShape::name);
    if (found == std::end(shapes)) return std::nullopt;
    tensor::Config config{.architecture = found->llama ? "llama" : "qwen2",
                          .layers = found->layers,
                          .hidden = found->hidden,
                          .heads = found->heads,
                          .kv_heads = found->kv_heads,
                          .head_dim = 128,
                          .ffn = found->ffn,
                          .vocab = found->vocab,
                          .context = 131'072,
                          .rope_theta = found->rope_theta,
                          .rms_norm_epsilon = found->epsilon,
                          .qkv_bias = !found->llama,
                          .tied_head = false,
                          .eos = {found->llama ? 128'001 : 151'643}};
    if (found->llama) config.rope_scaling.emplace();
    return config;
}

tensor::Config tiny_shape() {
    return {.architecture = "qwen2",
            .layers = 4,
            .hidden = 256,
            .heads = 4,
            .kv_heads = 2,
            .head_dim = 64,
            .ffn = 768,
            .vocab = 1'024,
            .context = 8'192,
            .eos = {1}};
}

std::unique_ptr<WeightSource> random_weights(const tensor::Config& config, DataType type) {
    return std::make_unique<RandomWeights>(config, type);
}

}  // namespace holdfast::model
