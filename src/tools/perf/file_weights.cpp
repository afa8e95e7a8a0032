#include "tools/perf/file_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "inference/backend/cpu/packed.h"
#include "inference/model/weights.h"

namespace holdfast::perf {

using tensor::DataType;

FileWeights::FileWeights(tensor::Config config, tensor::Checkpoint checkpoint)
    : config_(std::move(config)), checkpoint_(std::move(checkpoint)) {}

base::Result<FileWeights> FileWeights::open(const std::string& path) {
    HF_TRY_ASSIGN(auto config, tensor::read_config(path));
    HF_TRY_ASSIGN(auto checkpoint, tensor::Checkpoint::open(path));
    FileWeights found(std::move(config), std::move(checkpoint));
    HF_TRY(found.list_matrices());
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

DataType FileWeights::type_of(std::size_t matrix, std::optional<DataType> wanted) const {
    if (!wanted) return matrices_[matrix].type;
    return matrix < layers_end() ? tensor::fitting_type(*wanted, matrices_[matrix].inputs)
                                 : model::head_type(*wanted, config_.hidden);
}

std::string FileWeights::names(std::optional<DataType> type) const {
    std::vector<std::string_view> names;
    for (std::size_t i = 0; i < matrices_.size(); ++i) {
        const std::string_view name = tensor::name(type_of(i, type));
        if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
    std::string text = fmt::format("{}", fmt::join(names, ", "));
    if (type && std::ranges::find(names, tensor::name(*type)) == names.end())
        text += fmt::format(" for {}", tensor::name(*type));
    return text;
}

bool FileWeights::can_have(DataType type) const {
    for (std::size_t i = 0; i < layers_end(); ++i)
        if (type_of(i, type) != type) return false;
    return true;
}

base::Result<WeightBytes> FileWeights::bytes(std::optional<DataType> type) const {
    model::LoadOptions options;
    options.weights = type;
    WeightBytes bytes{.quantized = tensor::is_quantized(type_of(0, type))};
    HF_TRY_ASSIGN(bytes.reserved, model::needed_weight_bytes(checkpoint_, config_, options));
    for (std::size_t i = 0; i < matrices_.size(); ++i) {
        const Matrix& matrix = matrices_[i];
        const DataType own = type_of(i, type);
        const std::size_t packed =
            cpu::PackedMatrix::needed_bytes(own, matrix.outputs, matrix.inputs);
        const bool is_table = i == layers_end() && !config_.tied_head;
        bytes.step += is_table ? 0 : packed;
        bytes.exact += is_table ? matrix.outputs * tensor::bytes_of(own, matrix.inputs) : packed;
    }
    return bytes;
}

}  // namespace holdfast::perf
