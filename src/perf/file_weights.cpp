#include "perf/file_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "model/weights.h"

namespace holdfast::perf {

using tensor::DataType;

FileWeights::FileWeights(tensor::Config config, tensor::Checkpoint checkpoint)
    : config_(std::move(config)), checkpoint_(std::move(checkpoint)) {}

base::Result<FileWeights> FileWeights::open(const std::string& path) {
    HF_TRY_ASSIGN(auto config, tensor::read_config(path));
    HF_TRY_ASSIGN(auto checkpoint, tensor::Checkpoint::open(path));
    FileWeights found(std::move(config), std::move(checkpoint));
    HF_TRY(found.list_types());
    return found;
}

base::Result<> FileWeights::list_types() {
    std::vector<DataType> types;
    const auto add = [&](const std::string& name, std::uint64_t outputs,
                         std::uint64_t inputs) -> base::Result<DataType> {
        HF_TRY_ASSIGN(const tensor::Tensor* const matrix, checkpoint_.get(name, {outputs, inputs}));
        if (std::ranges::find(types, matrix->type) == types.end()) types.push_back(matrix->type);
        return matrix->type;
    };
    const std::uint64_t attended = std::uint64_t{config_.heads} * config_.head_dim;
    const std::uint64_t kept = std::uint64_t{config_.kv_heads} * config_.head_dim;
    for (std::uint32_t i = 0; i < config_.layers; ++i) {
        const std::string layer = fmt::format("model.layers.{}.", i);
        HF_TRY_ASSIGN(const DataType queries,
                      add(layer + "self_attn.q_proj.weight", attended, config_.hidden));
        if (i == 0) type_ = queries;
        HF_TRY(add(layer + "self_attn.k_proj.weight", kept, config_.hidden));
        HF_TRY(add(layer + "self_attn.v_proj.weight", kept, config_.hidden));
        HF_TRY(add(layer + "self_attn.o_proj.weight", config_.hidden, attended));
        HF_TRY(add(layer + "mlp.gate_proj.weight", config_.ffn, config_.hidden));
        HF_TRY(add(layer + "mlp.up_proj.weight", config_.ffn, config_.hidden));
        HF_TRY(add(layer + "mlp.down_proj.weight", config_.hidden, config_.ffn));
    }
    HF_TRY_ASSIGN(embedding_type_, add("model.embed_tokens.weight", config_.vocab, config_.hidden));
    if (!config_.tied_head) HF_TRY(add("lm_head.weight", config_.vocab, config_.hidden));
    for (const DataType type : types)
        names_ += fmt::format("{}{}", names_.empty() ? "" : ", ", tensor::name(type));
    return {};
}

base::Result<WeightBytes> FileWeights::bytes(std::optional<DataType> type) const {
    model::LoadOptions options;
    options.weights = type;
    HF_TRY_ASSIGN(const std::size_t total,
                  model::needed_weight_bytes(checkpoint_, config_, options));
    if (config_.tied_head) return WeightBytes{total, total};
    const DataType embedding = type ? model::head_type(*type, config_.hidden) : embedding_type_;
    return WeightBytes{total, total - config_.vocab * tensor::bytes_of(embedding, config_.hidden)};
}

}  // namespace holdfast::perf
