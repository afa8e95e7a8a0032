// The seam between the two compilers: what a decoder step launches, one plain struct and one
// function for each kernel. Every function returns a cudaError_t, and all pointers are the
// device's. Whoever implements one of these keeps to the sums of profile.h; which of several does
// is a matter of speed.
#pragma once

#include <cstdint>

#include "inference/backend/cuda/layout.h"
#include "inference/backend/cuda/profile.h"

namespace holdfast::cuda {

using Stream = void*;  // a cudaStream_t

// A token of a step: where it stands in its sequence, and where the numbers of the sequence's
// key-value blocks begin in `tables`.
struct Row {
    std::int32_t token = 0;
    std::uint32_t position = 0;
    std::uint32_t table = 0;
};

struct Rows {
    const Row* rows = nullptr;
    const std::uint32_t* tables = nullptr;
    std::uint32_t count = 0;
    std::uint32_t capacity = 0;  // tokens that activations have room for, a multiple of 64
};

// The residual stream and what stands ready for the next product: x, and for each tile of 64 values
// and token the sum of squares. `norm` is the weight that x was multiplied with.
struct Residual {
    float* h = nullptr;           // [token][hidden]
    void* x = nullptr;            // activations, `hidden` values
    float* squares = nullptr;     // [tile][token of capacity]
    const float* norm = nullptr;  // [hidden]
    std::uint32_t hidden = 0;
};

struct Embed {
    Rows rows;
    Residual out;
    const std::uint16_t* table = nullptr;  // bf16 [vocab][hidden]
};
int launch(const Embed&, Stream);

// Weights times activations of `count` columns. Column i is token columns[i], or token i.
struct Product {
    MatrixShape shape;
    const void* weights = nullptr;
    const void* x = nullptr;
    std::uint32_t capacity = 0, count = 0;
    const std::uint32_t* columns = nullptr;
};

// What makes r, the factor of a column, from the sums of squares.
struct Scale {
    const float* squares = nullptr;
    std::uint32_t hidden = 0;
    float epsilon = 0;
};

struct Qkv {
    Product product;
    Scale scale;
    Rows rows;
    CacheShape cache_shape;
    std::uint32_t heads = 0;
    const float* bias = nullptr;       // [rows of the matrix, in the model's order] or null
    const float* rotary = nullptr;     // [position][cosines, sines of head_dim / 2 pairs]
    std::uint16_t* queries = nullptr;  // bf16 [token][head][dimension]
    std::uint8_t* cache = nullptr;     // of this layer
};
int launch(const Qkv&, Stream);

struct Attention {
    Rows rows;
    CacheShape cache_shape;
    std::uint32_t heads = 0;
    float scale = 0;  // log2(e) / sqrt(head_dim)
    const std::uint16_t* queries = nullptr;
    const std::uint8_t* cache = nullptr;
    void* out = nullptr;  // activations, heads * head_dim values
    // No other row is of the same sequence: all but a row's own key and value stand in the cache
    // before the step.
    bool alone = false;
};
int launch(const Attention&, Stream);

// h + y, and what follows from it.
struct AddResidual {
    Product product;
    Residual residual;
};
int launch(const AddResidual&, Stream);

struct SwiGlu {
    Product product;
    Scale scale;
    void* out = nullptr;  // activations, shape.rows / 2 values
};
int launch(const SwiGlu&, Stream);

struct Logits {
    Product product;
    Scale scale;
    float* out = nullptr;  // [column][shape.rows]
};
int launch(const Logits&, Stream);

// The same for compute capability 9.0 and at most 8 columns without a map: links of a chain of
// programmatic launches, each of which reads its weights and older keys while those before it run.
// `launch(Attention)` takes rows that are alone in their sequences.
namespace hopper {
int launch(const Qkv&, Stream);
int launch(const Attention&, Stream);
int launch(const AddResidual&, Stream);
int launch(const SwiGlu&, Stream);
int launch(const Logits&, Stream);
}  // namespace hopper

// Packs rows [first, first + count) of a matrix whose packed row i is the model's row
// paired_row(i, half), or i where half is 0.
struct Pack {
    MatrixShape shape;
    std::uint32_t half = 0, first = 0, count = 0;
    const std::uint16_t* from = nullptr;  // bf16 [count][inputs]
    void* to = nullptr;
};
int launch(const Pack&, Stream);

}  // namespace holdfast::cuda
