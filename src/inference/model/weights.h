#pragma once

#include <string>
#include <vector>

#include "common/cores/pool.h"
#include "inference/backend/cpu/packed.h"
#include "inference/model/model.h"
#include "inference/tensor/checkpoint.h"
#include "inference/tensor/config.h"

namespace holdfast::model {

// One transformer layer.
struct Layer {
    std::vector<float> attention_norm, ffn_norm;  // hidden
    std::vector<float> qkv_bias;                  // (heads + 2 kv_heads) * head_dim, or none
    // Queries, keys and values side by side: neighbours of one type are one matrix.
    std::vector<cpu::PackedMatrix> qkv;
    cpu::PackedMatrix attention_output;  // hidden outputs
    cpu::PackedMatrix gate_up;           // 2 ffn outputs: 16 gates and their 16 ups per panel
    cpu::PackedMatrix down;              // hidden outputs
};

// Immutable once loaded.
struct Weights {
    tensor::Config config;
    tensor::DataType embedding_type = tensor::DataType::other;
    cpu::Memory embedding;  // [vocab][hidden], row by row; none when the head is tied to it
    std::vector<Layer> layers;
    std::vector<float> final_norm;
    cpu::PackedMatrix head;
    std::string fingerprint;  // see fingerprint.h
};

// What head and embedding become when the layers are converted to `layers`. They decide directly
// what is said and are a small part of a large model, so they get at least 6 bits. See
// tensor::fitting_type for rows that are no whole blocks.
tensor::DataType head_type(tensor::DataType layers, std::uint32_t hidden);

// Bytes of memory that load_weights() will reserve. Errors as load_weights(), as far as the names,
// shapes and types of tensors tell.
[[nodiscard]] base::Result<std::size_t> needed_weight_bytes(const tensor::Checkpoint& checkpoint,
                                                            const tensor::Config& config,
                                                            const LoadOptions& options);

// Reads, checks, converts and packs all tensors. Matrices get options.weights, or stay as they are
// (gate and up of different types become the one with more bits); vectors become float32. Numbers
// that are infinite or undefined are refused. The checkpoint may be closed afterwards.
[[nodiscard]] base::Result<Weights> load_weights(const tensor::Checkpoint& checkpoint,
                                                 const tensor::Config& config,
                                                 const LoadOptions& options, cores::Pool& pool);

}  // namespace holdfast::model
