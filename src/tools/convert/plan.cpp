#include "tools/convert/plan.h"

#include <initializer_list>
#include <string_view>

#include "common/base/assert.h"
#include "inference/tensor/gguf_names.h"

namespace holdfast::convert {
namespace {

using base::Result;
using tensor::Config;
using tensor::DataType;

class Planner {
public:
    Planner(const tensor::Checkpoint& checkpoint, const Config& config, const TypeChoice& types)
        : checkpoint_(checkpoint),
          config_(config),
          types_(types),
          interleaves_(config.architecture == "llama" && !checkpoint.has_interleaved_heads()) {}

    Result<std::vector<PlannedTensor>> plan() {
        const std::uint64_t vocab = config_.vocab, hidden = config_.hidden;
        HF_TRY(matrix("model.embed_tokens.weight", {vocab, hidden},
                      config_.tied_head ? types_.head : types_.type));
        HF_TRY(vector("model.norm.weight", hidden));
        if (!config_.tied_head) HF_TRY(matrix("lm_head.weight", {vocab, hidden}, types_.head));
        for (std::uint32_t i = 0; i < config_.layers; ++i)
            HF_TRY(layer(fmt::format("model.layers.{}.", i)));
        return std::move(plan_);
    }

private:
    Result<> add(std::string_view name, std::initializer_list<std::uint64_t> shape, DataType type) {
        HF_TRY_ASSIGN(const tensor::Tensor* const source, checkpoint_.get(name, shape));
        const auto target_name = tensor::gguf_name(name);
        HF_ASSERT(target_name);
        plan_.push_back({.target = {*target_name, shape, type}, .source = source});
        return {};
    }
    Result<> vector(std::string_view name, std::uint64_t size) {
        return add(name, {size}, DataType::f32);
    }
    Result<> matrix(std::string_view name, std::initializer_list<std::uint64_t> shape,
                    DataType wanted) {
        const DataType type = tensor::fitting_type(wanted, std::data(shape)[1]);
        HF_TRY(add(name, shape, type));
        plan_.back().fell_back = type != wanted;
        return {};
    }

    Result<> layer(const std::string& prefix) {
        const std::uint64_t hidden = config_.hidden, ffn = config_.ffn;
        const std::uint64_t attended = std::uint64_t{config_.heads} * config_.head_dim;
        HF_TRY(vector(prefix + "input_layernorm.weight", hidden));
        for (const std::string_view part : {"q", "k", "v"}) {
            const std::uint64_t rows =
                std::uint64_t{part == "q" ? config_.heads : config_.kv_heads} * config_.head_dim;
            const std::string name = fmt::format("{}self_attn.{}_proj.", prefix, part);
            HF_TRY(matrix(name + "weight", {rows, hidden}, types_.type));
            if (interleaves_ && part != "v") plan_.back().interleaved_head_dim = config_.head_dim;
            if (config_.qkv_bias) HF_TRY(vector(name + "bias", rows));
        }
        HF_TRY(matrix(prefix + "self_attn.o_proj.weight", {hidden, attended}, types_.type));
        HF_TRY(vector(prefix + "post_attention_layernorm.weight", hidden));
        HF_TRY(matrix(prefix + "mlp.gate_proj.weight", {ffn, hidden}, types_.type));
        HF_TRY(matrix(prefix + "mlp.up_proj.weight", {ffn, hidden}, types_.type));
        return matrix(prefix + "mlp.down_proj.weight", {hidden, ffn}, types_.type);
    }

    const tensor::Checkpoint& checkpoint_;
    const Config& config_;
    const TypeChoice& types_;
    const bool interleaves_;
    std::vector<PlannedTensor> plan_;
};

}  // namespace

std::size_t PlannedTensor::rows() const {
    std::size_t rows = 1;
    for (std::size_t i = 0; i + 1 < target.shape.size(); ++i) rows *= target.shape[i];
    return rows;
}

std::size_t PlannedTensor::source_row(std::size_t row) const {
    const std::size_t head_dim = interleaved_head_dim;
    if (head_dim == 0) return row;
    const std::size_t in_head = row % head_dim;
    return row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}

Result<std::vector<PlannedTensor>> make_plan(const tensor::Checkpoint& checkpoint,
                                             const Config& config, const TypeChoice& types,
                                             std::span<const float> divisors) {
    HF_TRY_ASSIGN(auto plan, Planner(checkpoint, config, types).plan());
    if (!divisors.empty())
        plan.push_back({.target = {"rope_freqs.weight", {divisors.size()}, DataType::f32},
                        .values = divisors});
    return plan;
}

}  // namespace holdfast::convert
