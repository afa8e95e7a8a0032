// The blocks of the K types, taken apart: 256 numbers in sub-blocks that have their own small
// scale. Layouts: ggml, ggml-common.h, block_q4_K, block_q5_K and block_q6_K.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace holdfast::tensor {

inline constexpr std::size_t k_block_elements = 256;

// Q4_K and Q5_K: 8 sub-blocks of 32; a number is scale * scales[s] * codes[i] - minimum *
// minima[s].
struct AffineBlock {
    std::uint16_t scale = 0, minimum = 0;              // f16
    std::array<std::uint8_t, 8> scales, minima;        // 6 bits each
    std::array<std::uint8_t, k_block_elements> codes;  // 4 bits, or 5
};

// Q6_K: 16 sub-blocks of 16; a number is scale * scales[s] * codes[i].
struct SymmetricBlock {
    std::uint16_t scale = 0;  // f16
    std::array<std::int8_t, 16> scales;
    std::array<std::int8_t, k_block_elements> codes;  // -32 to 31
};

// `bits` is 4 for Q4_K and 5 for Q5_K.
AffineBlock unpack_affine(const std::byte* from, unsigned bits);
void pack_affine(const AffineBlock& block, unsigned bits, std::byte* to);
SymmetricBlock unpack_symmetric(const std::byte* from);
void pack_symmetric(const SymmetricBlock& block, std::byte* to);

// The block closest to the numbers in squared error, as far as a local search finds it.
AffineBlock fit_affine(std::span<const float, k_block_elements> from, unsigned bits);
SymmetricBlock fit_symmetric(std::span<const float, k_block_elements> from);

}  // namespace holdfast::tensor
