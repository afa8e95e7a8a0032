// Where the parts of quantized weights stand in a panel of 32 outputs. A panel is cut along the
// inputs into blocks of 32; types whose blocks share scales have a group of 8 blocks with a header
// in front. Everything begins on a cache line, and one thread reads a panel from front to back.
//
//   group header   [minima ? 2 : 1][32 outputs] binary16: scale d, then scale of the minima; only
//                  for types with groups
//   block scales   64 bytes: [32 outputs] binary16 d, or [2][32 outputs] bytes: the factors of d
//                  for inputs 0..15 and 16..31 (two parts), or the factors of d and of the minima
//   low bits       bytes: [8 steps][32 outputs][4 inputs]; nibbles: [4][32][4], where step s stands
//                  in the low halves of s and step s + 4 in the high halves
//   high bits      one bit each: [32 outputs][4 inputs], bit s of a byte belongs to step s;
//                  two bits each: [2][32][4], bits 2 * (s % 4) of plane s / 4 belong to step s
//
// A step is 4 neighbouring inputs, the unit of an integer dot product. A weight is
// d * factor * (quant - offset) - minimum scale * factor, as in the formats of GGUF:
// https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
#pragma once

#include <cstddef>
#include <cstdint>

#include "inference/tensor/data_type.h"

namespace holdfast::cpu {

inline constexpr std::uint32_t block_inputs = 32;
inline constexpr std::uint32_t block_steps = 8;
inline constexpr std::size_t step_bytes = 128;  // of 32 outputs, a byte for each input

// Its functions are always inlined, because files compiled for different instruction sets share
// them.
struct QuantLayout {
    std::uint32_t low_bits = 8, high_bits = 0;
    std::int32_t offset = 0;
    std::uint32_t parts = 1;         // of a block, each with a factor of its own
    std::uint32_t group_blocks = 1;  // blocks that share d
    bool minima = false;
    std::uint32_t activation_blocks = 1;  // neighbouring blocks of activations that share a scale

    [[gnu::always_inline]] constexpr std::size_t header_bytes() const {
        return group_blocks == 1 ? 0 : minima ? 128 : 64;
    }
    [[gnu::always_inline]] constexpr std::size_t low_begin() const { return 64; }
    [[gnu::always_inline]] constexpr std::size_t high_begin() const {
        return low_begin() + step_bytes * low_bits;
    }
    [[gnu::always_inline]] constexpr std::size_t block_bytes() const {
        return high_begin() + step_bytes * high_bits;
    }
    [[gnu::always_inline]] constexpr std::size_t group_bytes() const {
        return header_bytes() + group_blocks * block_bytes();
    }
    [[gnu::always_inline]] constexpr std::size_t panel_bytes(std::uint32_t inputs) const {
        return inputs / (group_blocks * block_inputs) * group_bytes();
    }
    // From the beginning of a panel.
    [[gnu::always_inline]] constexpr std::size_t header_at(std::uint32_t block) const {
        return block / group_blocks * group_bytes();
    }
    [[gnu::always_inline]] constexpr std::size_t block_at(std::uint32_t block) const {
        return header_at(block) + header_bytes() + block % group_blocks * block_bytes();
    }
};

// Of a quantized type; for any other, blocks share nothing.
[[gnu::always_inline]] constexpr QuantLayout quant_layout(tensor::DataType type) {
    using tensor::DataType;
    switch (type) {
        case DataType::q4_0:
            return {.low_bits = 4, .offset = 8, .activation_blocks = 8};
        case DataType::q4_k:
            return {.low_bits = 4, .group_blocks = 8, .minima = true, .activation_blocks = 8};
        case DataType::q5_k:
            return {.low_bits = 4,
                    .high_bits = 1,
                    .group_blocks = 8,
                    .minima = true,
                    .activation_blocks = 8};
        case DataType::q6_k:
            return {.low_bits = 4, .high_bits = 2, .offset = 32, .parts = 2, .group_blocks = 8};
        default:
            return {.low_bits = 8, .offset = 128};
    }
}

// Register tiles of rows that go through the same weights: enough that reading and widening them
// costs little beside the arithmetic, few enough that what they keep stays in the caches. That is
// more where blocks of activations share a scale.
[[gnu::always_inline]] constexpr std::uint32_t tiles_per_part(tensor::DataType type) {
    return quant_layout(type).activation_blocks > 1 ? 16 : 8;
}

}  // namespace holdfast::cpu
