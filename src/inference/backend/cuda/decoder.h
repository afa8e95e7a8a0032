// A decoder of the Qwen2 and Llama kind on one CUDA device: weights and key-value cache in bf16,
// sums as profile.h says. Plain launches, one after the other; logits come back to the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "common/base/error.h"
#include "inference/backend/cuda/graph.h"
#include "inference/backend/cuda/kernels.h"
#include "inference/backend/cuda/memory.h"

namespace holdfast::cuda {

struct DecoderShape {
    std::uint32_t layers = 0, hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, ffn = 0;
    std::uint32_t vocab = 0;
    std::uint32_t positions = 0;  // most that a sequence can have
    float epsilon = 0;
    bool bias = false;  // of queries, keys and values
};

struct DecoderLimits {
    std::uint32_t tokens = 0;  // of a step
    std::uint32_t logits = 0;  // rows of logits of a step
    std::uint32_t slices = 0;  // of a step
    std::uint32_t blocks = 0;  // of 16 positions, in the cache
};

// Matrices and vectors as a model's files name them; rows of outputs, bf16.
enum class Matrix : std::uint8_t { embedding, query, key, value, output, gate, up, down, head };
enum class Vector : std::uint8_t { attention_norm, ffn_norm, last_norm, query, key, value };

// The part of one sequence that a step computes, as model::Slice.
struct Slice {
    std::span<const std::int32_t> tokens;
    std::uint32_t position = 0;
    std::span<const std::uint32_t> blocks;
    std::uint32_t logits = 0;  // the last `logits` tokens give a row each
};

// One thread, which has opened the device. Everything is reserved by `reserve`; `forward` reserves
// nothing. After an error the device's context must be taken for lost.
class Decoder {
public:
    // invalid if the shape is none that the kernels can do; overloaded if the device's memory is
    // too small, with how much there is.
    static base::Result<Decoder> reserve(const DecoderShape& shape, const DecoderLimits& limits);

    // Rows [first, first + ...) of a matrix, whole rows of bf16, in any order and any pieces.
    base::Result<> upload(Matrix matrix, std::uint32_t layer, std::uint32_t first,
                          std::span<const std::uint16_t> rows);
    base::Result<> upload(Vector vector, std::uint32_t layer, std::span<const float> values);
    // For positions from `first` on: head_dim / 2 cosines, as many sines.
    base::Result<> upload_rotary(std::uint32_t first, std::span<const float> turns);

    // Records the steps that are graphs, if the device can do them. Without it, and with plain
    // launches alone, every step has the same bits.
    base::Result<> prepare();

    // Rows of logits in slice order, valid until the next call. The slices must keep to the limits.
    base::Result<std::span<const float>> forward(std::span<const Slice> slices);

    const DecoderShape& shape() const { return shape_; }

private:
    struct Layer {
        DeviceMemory qkv, output, gate_up, down, bias, attention_norm, ffn_norm, cache;
    };
    struct Place;  // of a matrix in a packed one

    Decoder(const DecoderShape& shape, const DecoderLimits& limits);

    MatrixShape matrix_shape(Role role) const;
    Place place_of(Matrix matrix, std::uint32_t layer);
    base::Result<> reserve_all();
    void stage(const Slice& slice);
    base::Result<> stage(std::span<const Slice> slices);
    base::Result<> compute(std::uint32_t tokens) const;
    base::Result<> record_step(std::uint32_t tokens, Stream stream) const;
    Embed embed(std::uint32_t tokens) const;
    Qkv qkv(std::uint32_t layer, std::uint32_t tokens) const;
    Attention attention(std::uint32_t layer, std::uint32_t tokens) const;
    AddResidual output(std::uint32_t layer, std::uint32_t tokens) const;
    SwiGlu swiglu(std::uint32_t layer, std::uint32_t tokens) const;
    AddResidual down(std::uint32_t layer, std::uint32_t tokens) const;
    Logits logits(std::uint32_t columns) const;
    Product product(Role role, const DeviceMemory& weights, const DeviceMemory& x,
                    std::uint32_t columns) const;
    Rows rows(std::uint32_t tokens) const;
    Residual residual(const DeviceMemory& norm) const;
    Scale scale() const;

    DecoderShape shape_;
    DecoderLimits limits_;
    CacheShape cache_shape_;
    std::uint32_t capacity_ = 0;  // tokens of activations, a multiple of 64
    std::vector<Layer> layers_;
    DeviceMemory embedding_, head_, last_norm_, rotary_, staging_;
    DeviceMemory h_, x_, squares_, queries_, attention_, swiglu_, logits_;
    DeviceMemory rows_, tables_, columns_;
    std::vector<Graph> graphs_;  // of steps of 1, 2, ... sequences with a token each
    // Of the step that is under way, in pinned memory, and how much of it is used.
    PinnedMemory host_rows_, host_tables_, host_columns_, host_logits_;
    std::uint32_t tokens_ = 0, tables_size_ = 0, columns_size_ = 0;
};

}  // namespace holdfast::cuda
