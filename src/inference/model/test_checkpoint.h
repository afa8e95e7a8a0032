// For tests: a small Qwen2 or Llama checkpoint in the Hugging Face layout, written to a temporary
// folder.
#pragma once

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/base/test_folder.h"
#include "inference/tensor/config.h"

namespace holdfast::model {

struct TestTensor {
    std::vector<std::uint64_t> shape;
    std::vector<float> values;  // exactly representable in the file's type
};
using TestTensors = std::map<std::string, TestTensor>;

inline tensor::Config test_config() {
    return {.architecture = "qwen2",
            .layers = 3,
            .hidden = 96,
            .heads = 6,
            .kv_heads = 2,
            .head_dim = 32,
            .ffn = 176,
            .vocab = 211,
            .context = 1'024,
            .rope_theta = 10'000.0F,
            .rms_norm_epsilon = 1e-6F,
            .tied_head = false,
            .eos = {7, 9}};
}

inline float round_to_bf16(float value) {
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0xffff'0000U);
}

// All tensors that the model needs, with bf16 values between -scale and scale.
// scripts/record_golden_architectures.py makes the same.
inline TestTensors random_tensors(const tensor::Config& config, std::uint64_t seed) {
    TestTensors tensors;
    const auto add = [&](const std::string& name, std::vector<std::uint64_t> shape, float offset,
                         float scale) {
        std::size_t size = 1;
        for (const std::uint64_t dimension : shape) size *= dimension;
        std::vector<float> values(size);
        for (std::size_t i = 0; i < size; ++i)
            values[i] = round_to_bf16(
                offset +
                scale *
                    (2 * base::uniform(seed, static_cast<std::uint32_t>(tensors.size()), i) - 1));
        tensors[name] = {std::move(shape), std::move(values)};
    };
    const std::uint64_t attended = std::uint64_t{config.heads} * config.head_dim;
    const std::uint64_t kept = std::uint64_t{config.kv_heads} * config.head_dim;
    const float in_hidden = 2.0F / std::sqrt(static_cast<float>(config.hidden));
    const float in_ffn = 2.0F / std::sqrt(static_cast<float>(config.ffn));
    add("model.embed_tokens.weight", {config.vocab, config.hidden}, 0, 1);
    for (std::uint32_t i = 0; i < config.layers; ++i) {
        const std::string layer = fmt::format("model.layers.{}.", i);
        add(layer + "input_layernorm.weight", {config.hidden}, 1, 0.3F);
        add(layer + "post_attention_layernorm.weight", {config.hidden}, 1, 0.3F);
        add(layer + "self_attn.q_proj.weight", {attended, config.hidden}, 0, in_hidden);
        add(layer + "self_attn.k_proj.weight", {kept, config.hidden}, 0, in_hidden);
        add(layer + "self_attn.v_proj.weight", {kept, config.hidden}, 0, in_hidden);
        if (config.qkv_bias) {
            add(layer + "self_attn.q_proj.bias", {attended}, 0, 1);
            add(layer + "self_attn.k_proj.bias", {kept}, 0, 1);
            add(layer + "self_attn.v_proj.bias", {kept}, 0, 1);
        }
        add(layer + "self_attn.o_proj.weight", {config.hidden, attended}, 0, in_hidden);
        add(layer + "mlp.gate_proj.weight", {config.ffn, config.hidden}, 0, in_hidden);
        add(layer + "mlp.up_proj.weight", {config.ffn, config.hidden}, 0, in_hidden);
        add(layer + "mlp.down_proj.weight", {config.hidden, config.ffn}, 0, in_ffn);
    }
    add("model.norm.weight", {config.hidden}, 1, 0.3F);
    if (!config.tied_head) add("lm_head.weight", {config.vocab, config.hidden}, 0, in_hidden);
    return tensors;
}

// `type` is BF16 or F32.
inline std::string safetensors_bytes(const TestTensors& tensors, const std::string& type) {
    const std::size_t element_bytes = type == "F32" ? 4 : 2;
    std::string header = "{", data;
    for (const auto& [name, tensor] : tensors) {
        const std::size_t begin = data.size();
        for (const float value : tensor.values) {
            const auto bits = std::bit_cast<std::uint32_t>(value);
            const auto* const bytes = reinterpret_cast<const char*>(&bits);
            data.append(bytes + 4 - element_bytes, element_bytes);
        }
        header += fmt::format(R"({}"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                              header.size() > 1 ? "," : "", name, type,
                              fmt::join(tensor.shape, ","), begin, data.size());
    }
    header += "}";
    const std::uint64_t length = header.size();
    return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + data;
}

inline std::string config_json(const tensor::Config& config) {
    std::string scaling;
    if (config.rope_scaling)
        scaling = fmt::format(
            R"("rope_scaling":{{"rope_type":"llama3","factor":{},)"
            R"("low_freq_factor":{},"high_freq_factor":{},)"
            R"("original_max_position_embeddings":{}}},)",
            config.rope_scaling->factor, config.rope_scaling->low_frequency_factor,
            config.rope_scaling->high_frequency_factor, config.rope_scaling->original_context);
    return fmt::format(R"({{"model_type":"{}","num_hidden_layers":{},"hidden_size":{},)"
                       R"("num_attention_heads":{},"num_key_value_heads":{},"head_dim":{},)"
                       R"("intermediate_size":{},"vocab_size":{},)"
                       R"("max_position_embeddings":{},"rope_theta":{},{}"rms_norm_eps":{},)"
                       R"("tie_word_embeddings":{},"eos_token_id":[{}]}})",
                       config.architecture, config.layers, config.hidden, config.heads,
                       config.kv_heads, config.head_dim, config.ffn, config.vocab, config.context,
                       config.rope_theta, scaling, config.rms_norm_epsilon, config.tied_head,
                       fmt::join(config.eos, ","));
}

inline void write_checkpoint(const base::testing::TemporaryFolder& folder,
                             const tensor::Config& config, const TestTensors& tensors,
                             const std::string& type = "BF16") {
    folder.write("config.json", config_json(config));
    folder.write("model.safetensors", safetensors_bytes(tensors, type));
}

}  // namespace holdfast::model
