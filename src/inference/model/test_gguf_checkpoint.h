// For tests: the same small checkpoints as a GGUF file, in any type.
#pragma once

#include <functional>
#include <string>

#include "inference/model/test_checkpoint.h"
#include "inference/tensor/gguf_names.h"
#include "inference/tensor/quantize.h"
#include "inference/tensor/test_gguf.h"

namespace holdfast::model {

// The type of a matrix by its name in transformers.
using TypeOf = std::function<tensor::DataType(const std::string& name)>;

inline std::uint32_t gguf_type(tensor::DataType type) {
    using enum tensor::DataType;
    switch (type) {
        case f32:
            return 0;
        case f16:
            return 1;
        case q4_0:
            return 2;
        case q8_0:
            return 8;
        case q4_k:
            return 12;
        case q5_k:
            return 13;
        case q6_k:
            return 14;
        case bf16:
            return 30;
        case other:
            break;
    }
    return ~0U;
}

inline std::string quantized(const TestTensor& tensor, tensor::DataType type) {
    const std::size_t inputs = tensor.shape.back(), row = tensor::bytes_of(type, inputs);
    std::string bytes(tensor.values.size() / inputs * row, '\0');
    for (std::size_t i = 0; i * inputs < tensor.values.size(); ++i)
        tensor::quantize(type, std::span(tensor.values).subspan(i * inputs, inputs),
                         reinterpret_cast<std::byte*>(bytes.data()) + i * row);
    return bytes;
}

// The numbers that are left of the matrices.
inline TestTensors dequantized(TestTensors tensors, const TypeOf& type_of) {
    for (auto& [name, tensor] : tensors) {
        if (tensor.shape.size() != 2) continue;
        const tensor::DataType type = type_of(name);
        const std::string bytes = quantized(tensor, type);
        const std::size_t inputs = tensor.shape[1], row = tensor::bytes_of(type, inputs);
        for (std::size_t i = 0; i < tensor.shape[0]; ++i)
            tensor::dequantize(type, reinterpret_cast<const std::byte*>(bytes.data()) + i * row,
                               std::span(tensor.values).subspan(i * inputs, inputs));
    }
    return tensors;
}

// GGUF's order of the rows of Llama's queries and keys.
inline TestTensor interleaved(const TestTensor& tensor, std::uint32_t head_dim) {
    TestTensor result = tensor;
    const std::size_t inputs = tensor.shape[1];
    for (std::size_t row = 0; row < tensor.shape[0]; ++row) {
        const std::size_t in_head = row % head_dim, half = head_dim / 2;
        const std::size_t from =
            row - in_head + (in_head % 2 == 0 ? in_head / 2 : in_head / 2 + half);
        std::copy_n(tensor.values.begin() + static_cast<std::ptrdiff_t>(from * inputs), inputs,
                    result.values.begin() + static_cast<std::ptrdiff_t>(row * inputs));
    }
    return result;
}

inline std::string gguf_bytes(const tensor::Config& config, const TestTensors& tensors,
                              const TypeOf& type_of) {
    tensor::testing::GgufBytes file;
    const std::string prefix = config.architecture + ".";
    file.text("general.architecture", config.architecture)
        .integer(prefix + "block_count", config.layers)
        .integer(prefix + "context_length", config.context)
        .integer(prefix + "embedding_length", config.hidden)
        .integer(prefix + "feed_forward_length", config.ffn)
        .integer(prefix + "attention.head_count", config.heads)
        .integer(prefix + "attention.head_count_kv", config.kv_heads)
        .integer(prefix + "attention.key_length", config.head_dim)
        .integer(prefix + "attention.value_length", config.head_dim)
        .number(prefix + "rope.freq_base", config.rope_theta)
        .number(prefix + "attention.layer_norm_rms_epsilon", config.rms_norm_epsilon)
        .integer("tokenizer.ggml.eos_token_id", static_cast<std::uint32_t>(config.eos[0]));
    for (const auto& [name, tensor] : tensors) {
        const bool turned = name.ends_with("q_proj.weight") || name.ends_with("k_proj.weight");
        const auto type = tensor.shape.size() == 2 ? type_of(name) : tensor::DataType::f32;
        file.tensor(*tensor::gguf_name(name), tensor.shape, gguf_type(type),
                    quantized(turned && config.architecture == "llama"
                                  ? interleaved(tensor, config.head_dim)
                                  : tensor,
                              type));
    }
    return file.bytes();
}

}  // namespace holdfast::model
