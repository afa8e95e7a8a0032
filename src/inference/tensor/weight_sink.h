// What a decoder's weights are, and where they go: each backend has sinks of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "common/base/error.h"
#include "inference/tensor/source_row.h"

namespace holdfast::tensor {

// Which part of a decoder weights are for. Outputs stand as in transformers' matrices, whatever the
// file's order is; which of them a backend puts side by side is its own affair.
enum class Role : std::uint8_t {
    // Vectors.
    attention_norm,
    qkv_bias,  // of queries, keys and values, in this order
    ffn_norm,
    final_norm,
    // Matrices.
    qkv,  // queries, keys and values, in this order: one matrix for neighbours of one type
    attention_output,
    gate_up,  // all gates, then as many ups
    down,
    head,
};

// Takes the weights of one model. One thread calls, for layer after layer; parts of no layer have
// layer 0. Values are to be asked for during the call alone, or never: a sink may only count.
class WeightSink {
public:
    using VectorOf = std::function<std::vector<float>()>;

    virtual ~WeightSink() = default;
    virtual base::Result<> vector(Role role, std::uint32_t layer, std::uint32_t size,
                                  const VectorOf& values) = 0;
    // To be kept in `type`. Rows may be of other types: see write_row().
    virtual base::Result<> matrix(Role role, std::uint32_t layer, DataType type,
                                  std::uint32_t outputs, std::uint32_t inputs,
                                  const RowOf& row_of) = 0;
    // The embedding, whose rows are looked up by token id. There is none where the head is tied to
    // it: then the head's rows are what is looked up.
    virtual base::Result<> table(DataType type, std::uint32_t rows, std::uint32_t columns,
                                 const RowOf& row_of) = 0;
};

}  // namespace holdfast::tensor
