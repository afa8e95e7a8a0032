// Where a weight, an activation, a key or a value stands in device memory. Everything that a
// product reads is kept in the form in which tensor cores read it: blocks of rows of 64 elements
// (128 bytes) of 16 bits, in which the eight 16-byte pieces of a row are swapped by the row's
// number. So a block comes to shared memory by one plain copy, and neither wgmma nor ldmatrix meets
// a bank conflict. For host and device compiler alike.
#pragma once

#include <cstddef>
#include <cstdint>

#include "inference/backend/cuda/profile.h"

namespace holdfast::cuda {

// The byte at which element `k` of `row` stands in a block: the swizzle of 128 bytes of the PTX
// manual.
constexpr std::uint32_t swizzled(std::uint32_t row, std::uint32_t k) {
    return row * 128 + ((k / 8 ^ row % 8) * 16) + k % 8 * 2;
}

// Weights: [tile of 64 rows][block of 64 inputs][8 KB]. The blocks of a segment are contiguous.
inline constexpr std::uint32_t block_bytes = tile_rows * block_k * 2;

struct MatrixShape {
    Role role = Role::head;
    std::uint32_t rows = 0, inputs = 0;

    constexpr std::uint32_t tiles() const { return padded(rows, tile_rows) / tile_rows; }
    constexpr std::uint32_t blocks() const { return padded(inputs, block_k) / block_k; }
    constexpr std::size_t bytes() const { return std::size_t{tiles()} * blocks() * block_bytes; }
};

constexpr std::size_t weight_at(std::uint32_t blocks, std::uint32_t row, std::uint32_t k) {
    return (std::size_t{row / tile_rows} * blocks + k / block_k) * block_bytes +
           swizzled(row % tile_rows, k % block_k);
}

// Which row of the model's matrices stands in row `at` of a packed one. Values that one thread must
// hold together stand 8 rows apart, as a thread's accumulators do: the two halves of a rotated pair
// (i and i + half of one head), and a gate with its up (gates are rows [0, half), ups behind them).
constexpr std::uint32_t paired_row(std::uint32_t at, std::uint32_t half) {
    const std::uint32_t group = at % (2 * half) / 16, upper = at % 16 / 8;
    return at / (2 * half) * (2 * half) + group * 8 + at % 8 + upper * half;
}

// Activations: [block of 64 values][token of `tokens`][128 bytes], so that the operand of any
// number of tokens is one piece.
constexpr std::size_t activation_at(std::uint32_t tokens, std::uint32_t token, std::uint32_t k) {
    return std::size_t{k / block_k} * tokens * 128 + std::size_t{token / 8} * 1024 +
           swizzled(token % 8, k % block_k);
}

constexpr std::size_t activation_bytes(std::uint32_t tokens, std::uint32_t values) {
    return std::size_t{padded(values, block_k) / block_k} * tokens * 128;
}

// The key-value cache of one layer: [block of 16 positions][kv head][keys, values][panel of 64
// dimensions][2 KB].
struct CacheShape {
    std::uint32_t kv_heads = 0, head_dim = 0;

    constexpr std::uint32_t panels() const { return padded(head_dim, 64) / 64; }
    constexpr std::size_t head_bytes() const { return std::size_t{panels()} * 2 * 2048; }
    constexpr std::size_t block_bytes() const { return head_bytes() * kv_heads; }
};

constexpr std::size_t cached_at(const CacheShape& shape, std::uint32_t block, std::uint32_t slot,
                                std::uint32_t kv_head, bool value, std::uint32_t dimension) {
    return block * shape.block_bytes() + kv_head * shape.head_bytes() +
           (value ? shape.head_bytes() / 2 : 0) + dimension / 64 * std::size_t{2048} +
           swizzled(slot, dimension % 64);
}

}  // namespace holdfast::cuda
