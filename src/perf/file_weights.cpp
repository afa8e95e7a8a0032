#include "perf/file_weights.h"

#include <fmt/format.h>

#include <algorithm>

#include "tensor/checkpoint.h"

namespace holdfast::perf {

std::string FileWeights::names() const {
    std::string out;
    for (const tensor::DataType type : types)
        out += fmt::format("{}{}", out.empty() ? "" : ", ", tensor::name(type));
    return out;
}

base::Result<FileWeights> read_file_weights(const std::string& path) {
    FileWeights found;
    HF_TRY_ASSIGN(found.config, tensor::read_config(path));
    HF_TRY_ASSIGN(const auto checkpoint, tensor::Checkpoint::open(path));
    const auto add = [&](const std::string& name, std::uint64_t outputs,
                         std::uint64_t inputs) -> base::Result<> {
        HF_TRY_ASSIGN(const tensor::Tensor* const matrix, checkpoint.get(name, {outputs, inputs}));
        found.step_bytes += matrix->bytes.size();
        if (std::ranges::find(found.types, matrix->type) == found.types.end())
            found.types.push_back(matrix->type);
        return {};
    };
    const tensor::Config& config = found.config;
    const std::uint64_t attended = std::uint64_t{config.heads} * config.head_dim;
    const std::uint64_t kept = std::uint64_t{config.kv_heads} * config.head_dim;
    for (std::uint32_t i = 0; i < config.layers; ++i) {
        const std::string layer = fmt::format("model.layers.{}.", i);
        HF_TRY(add(layer + "self_attn.q_proj.weight", attended, config.hidden));
        HF_TRY(add(layer + "self_attn.k_proj.weight", kept, config.hidden));
        HF_TRY(add(layer + "self_attn.v_proj.weight", kept, config.hidden));
        HF_TRY(add(layer + "self_attn.o_proj.weight", config.hidden, attended));
        HF_TRY(add(layer + "mlp.gate_proj.weight", config.ffn, config.hidden));
        HF_TRY(add(layer + "mlp.up_proj.weight", config.ffn, config.hidden));
        HF_TRY(add(layer + "mlp.down_proj.weight", config.hidden, config.ffn));
    }
    HF_TRY(add(config.tied_head ? "model.embed_tokens.weight" : "lm_head.weight", config.vocab,
               config.hidden));
    return found;
}

}  // namespace holdfast::perf
