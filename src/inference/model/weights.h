// Weights as the processor computes with them, and the sink that makes them.
#pragma once

#include <string>
#include <vector>

#include "common/cores/pool.h"
#include "inference/backend/cpu/memory.h"
#include "inference/backend/cpu/packed.h"
#include "inference/model/device.h"
#include "inference/tensor/config.h"
#include "inference/tensor/weight_sink.h"

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

// Converts and packs all weights, on all threads of the pool.
class WeightPacker final : public tensor::WeightSink {
public:
    WeightPacker(const tensor::Config& config, cpu::Numerics numerics, cores::Pool& pool);

    // What was given so far, without a fingerprint.
    Weights take() { return std::move(weights_); }

    base::Result<> vector(tensor::Role role, std::uint32_t layer, std::uint32_t size,
                          const VectorOf& values) override;
    base::Result<> matrix(tensor::Role role, std::uint32_t layer, tensor::DataType type,
                          std::uint32_t outputs, std::uint32_t inputs,
                          const tensor::RowOf& row_of) override;
    base::Result<> table(tensor::DataType type, std::uint32_t rows, std::uint32_t columns,
                         const tensor::RowOf& row_of) override;

private:
    std::vector<float>& vector_of(tensor::Role role, std::uint32_t layer);
    cpu::PackedMatrix& matrix_of(tensor::Role role, std::uint32_t layer);

    cpu::Numerics numerics_;
    cores::Pool& pool_;
    Weights weights_;
};

// Counts what a packer would reserve for the same weights.
class WeightCounter final : public tensor::WeightSink {
public:
    const WeightBytes& bytes() const { return bytes_; }

    base::Result<> vector(tensor::Role role, std::uint32_t layer, std::uint32_t size,
                          const VectorOf& values) override;
    base::Result<> matrix(tensor::Role role, std::uint32_t layer, tensor::DataType type,
                          std::uint32_t outputs, std::uint32_t inputs,
                          const tensor::RowOf& row_of) override;
    base::Result<> table(tensor::DataType type, std::uint32_t rows, std::uint32_t columns,
                         const tensor::RowOf& row_of) override;

private:
    WeightBytes bytes_;
};

}  // namespace holdfast::model
