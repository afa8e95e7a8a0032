#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backend/cpu/packed.h"
#include "tensor/checkpoint.h"
#include "tensor/config.h"

namespace holdfast::model {

// One transformer layer. q, k and v are one matrix, gate and up another (16 gates and the 16 ups
// that belong to them per panel).
struct Layer {
    std::vector<float> attention_norm, ffn_norm;  // hidden
    std::vector<float> qkv_bias;                  // (heads + 2 kv_heads) * head_dim
    cpu::PackedMatrix qkv;                        // that many outputs
    cpu::PackedMatrix attention_output;           // hidden outputs
    cpu::PackedMatrix gate_up;                    // 2 ffn outputs
    cpu::PackedMatrix down;                       // hidden outputs
};

// Immutable once loaded.
struct Weights {
    tensor::Config config;
    tensor::DataType embedding_type = tensor::DataType::other;
    cpu::Memory embedding;  // [vocab][hidden] as in the file; none when the head is tied to it
    std::vector<Layer> layers;
    std::vector<float> final_norm;
    cpu::PackedMatrix head;
    std::string fingerprint;  // see fingerprint() in fingerprint.h
};

using Progress = std::function<void(double share)>;

// Reads, checks and packs all tensors; numbers that are infinite or undefined are refused. The
// checkpoint may be closed afterwards.
[[nodiscard]] base::Result<Weights> load_weights(const tensor::Checkpoint& checkpoint,
                                                 const tensor::Config& config, cpu::Pool& pool,
                                                 const Progress& progress);

// Bytes that the weights take in memory: checked before they are read.
std::size_t weight_bytes(const tensor::Config& config, tensor::DataType type);

}  // namespace holdfast::model
