#include "perf/file_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "backend/cpu/packed.h"
#include "model/weights.h"

namespace holdfast::perf {

using tensor::DataType;

FileWeights::FileWeights(tensor::Config config, tensor::Checkpoint checkpoint)
    : config_(std::move(config)), checkpoint_(std::move(checkpoint)) {}

base::Result<FileWeights> FileWeights::open(const std::string& path) {
    HF_TRY_ASSIGN(auto config, tensor::read_config(path));
    HF_TRY_ASSIGN(auto checkpoint, tensor::Checkpoint::open(path));
    FileWeights found(std::move(config), std::move(checkpoint));
    HF_TRY(found.list_matrices());
    std::vector<DataType> types;
    for (const Matrix& matrix : found.matrices_)
        if (std::ranges::find(types, matrix.type) == types.end()) types.push_back(matrix.type);
    for (const DataType type : types)
        found.names_ += fmt::format("{}{}", found.names_.empty() ? "" : ", ", tensor::name(type));
    return found;
}

base::Result<> FileWeights::add(const std::string& name, std::uint32_t outputs,
                                std::uint32_t inputs) {
    HF_TRY_ASSIGN(const tensor::Tensor* const found, checkpoint_.get(name, {outputs, inputs}));
    matrices_.push_back({found->type, outputs, inputs});
    return {};
}

base::Result<> FileWeights::list_matrices() {
    const std::uint32_t attended = config_.heads * config_.head_dim;
    const std::uint32_t kept = config_.kv_heads * config_.head_dim;
    for (std::uint32_t i = 0; i < config_.layers; ++i) {
        const std::string layer = fmt::format("model.layers.{}.", i);
        HF_TRY(add(layer + "self_attn.q_proj.weight", attended, config_.hidden));
        HF_TRY(add(layer + "self_attn.k_proj.weight", kept, config_.hidden));
        HF_TRY(add(layer + "self_attn.v_proj.weight", kept, config_.hidden));
        HF_TRY(add(layer + "self_attn.o_proj.weight", config_.hidden, attended));
        HF_TRY(add(layer + "mlp.gate_proj.weight", config_.ffn, config_.hidden));
        HF_TRY(add(layer + "mlp.up_proj.weight", config_.ffn, config_.hidden));
        HF_TRY(add(layer + "mlp.down_proj.weight", config_.hidden, config_.ffn));
    }
    HF_TRY(add("model.embed_tokens.weight", config_.vocab, config_.hidden));
    if (!config_.tied_head) HF_TRY(add("lm_head.weight", config_.vocab, config_.hidden));
    return {};
}

base::Result<WeightBytes> FileWeights::bytes(std::optional<DataType> type) const {
    model::LoadOptions options;
    options.weights = type;
    WeightBytes bytes{.quantized = tensor::is_quantized(type.value_or(matrices_.front().type))};
    HF_TRY_ASSIGN(bytes.reserved, model::needed_weight_bytes(checkpoint_, config_, options));
    const std::size_t layers_end = matrices_.size() - (config_.tied_head ? 1 : 2);
    for (std::size_t i = 0; i < matrices_.size(); ++i) {
        const Matrix& matrix = matrices_[i];
        DataType own = matrix.type;
        if (type) own = i < layers_end ? *type : model::head_type(*type, config_.hidden);
        const std::size_t packed =
            cpu::PackedMatrix::needed_bytes(own, matrix.outputs, matrix.inputs);
        const bool is_table = i == layers_end && !config_.tied_head;
        bytes.step += is_table ? 0 : packed;
        bytes.exact += is_table ? matrix.outputs * tensor::bytes_of(own, matrix.inputs) : packed;
    }
    return bytes;
}

}  // namespace holdfast::perf
