#include "inference/tensor/k_blocks.h"

#include <cstring>

#include "inference/tensor/float16.h"

namespace holdfast::tensor {
namespace {

constexpr std::size_t packed_scales_at = 4, packed_scales_bytes = 12, high_bytes = 32;

unsigned at(const std::byte* from, std::size_t i) { return std::to_integer<unsigned>(from[i]); }

void set(std::byte* to, std::size_t i, unsigned value) { to[i] = static_cast<std::byte>(value); }

// Eight scales and eight minima of 6 bits in 12 bytes. The first four of each have bytes of their
// own, whose upper two bits are those of the last four.
void unpack_scales(const std::byte* from, AffineBlock& block) {
    for (std::size_t i = 0; i < 4; ++i) {
        block.scales[i] = at(from, i) & 63;
        block.minima[i] = at(from, i + 4) & 63;
        block.scales[i + 4] =
            static_cast<std::uint8_t>((at(from, i + 8) & 15) | at(from, i) >> 6 << 4);
        block.minima[i + 4] =
            static_cast<std::uint8_t>(at(from, i + 8) >> 4 | at(from, i + 4) >> 6 << 4);
    }
}

void pack_scales(const AffineBlock& block, std::byte* to) {
    for (std::size_t i = 0; i < 4; ++i) {
        const unsigned scale = block.scales[i + 4], minimum = block.minima[i + 4];
        set(to, i, block.scales[i] | scale >> 4 << 6);
        set(to, i + 4, block.minima[i] | minimum >> 4 << 6);
        set(to, i + 8, (scale & 15) | (minimum & 15) << 4);
    }
}

}  // namespace

AffineBlock unpack_affine(const std::byte* from, unsigned bits) {
    AffineBlock block;
    block.scale = load_u16(from);
    block.minimum = load_u16(from + 2);
    unpack_scales(from + packed_scales_at, block);
    const std::byte* const high = from + packed_scales_at + packed_scales_bytes;
    const std::byte* const low = bits == 5 ? high + high_bytes : high;
    for (std::size_t i = 0; i < k_block_elements; ++i) {
        const std::size_t part = i / 32, in_part = i % 32;
        unsigned code = at(low, part / 2 * 32 + in_part) >> part % 2 * 4 & 15;
        if (bits == 5) code |= (at(high, in_part) >> part & 1) << 4;
        block.codes[i] = static_cast<std::uint8_t>(code);
    }
    return block;
}

void pack_affine(const AffineBlock& block, unsigned bits, std::byte* to) {
    store_u16(to, block.scale);
    store_u16(to + 2, block.minimum);
    pack_scales(block, to + packed_scales_at);
    std::byte* const high = to + packed_scales_at + packed_scales_bytes;
    std::byte* const low = bits == 5 ? high + high_bytes : high;
    if (bits == 5) std::memset(high, 0, high_bytes);
    for (std::size_t i = 0; i < k_block_elements; ++i) {
        const std::size_t part = i / 32, in_part = i % 32, byte = part / 2 * 32 + in_part;
        const unsigned code = block.codes[i];
        set(low, byte, part % 2 == 0 ? code & 15 : at(low, byte) | (code & 15) << 4);
        if (bits == 5) set(high, in_part, at(high, in_part) | code >> 4 << part);
    }
}

// 128 bytes of low nibbles, 64 of high pairs of bits, 16 scales, the scale of all. Each half of the
// block is four quarters of 32: quarters 0 and 2 share bytes of nibbles, as do 1 and 3, and all
// four share bytes of pairs.
SymmetricBlock unpack_symmetric(const std::byte* from) {
    SymmetricBlock block;
    for (std::size_t i = 0; i < k_block_elements; ++i) {
        const std::size_t half = i / 128, quarter = i / 32 % 4, in_quarter = i % 32;
        const unsigned low =
            at(from, half * 64 + quarter % 2 * 32 + in_quarter) >> quarter / 2 * 4 & 15;
        const unsigned high = at(from, 128 + half * 32 + in_quarter) >> quarter * 2 & 3;
        block.codes[i] = static_cast<std::int8_t>(static_cast<int>(low | high << 4) - 32);
    }
    std::memcpy(block.scales.data(), from + 192, block.scales.size());
    block.scale = load_u16(from + 208);
    return block;
}

void pack_symmetric(const SymmetricBlock& block, std::byte* to) {
    std::memset(to, 0, 192);
    for (std::size_t i = 0; i < k_block_elements; ++i) {
        const std::size_t half = i / 128, quarter = i / 32 % 4, in_quarter = i % 32;
        const auto code = static_cast<unsigned>(block.codes[i] + 32);
        const std::size_t low = half * 64 + quarter % 2 * 32 + in_quarter;
        const std::size_t high = 128 + half * 32 + in_quarter;
        set(to, low, at(to, low) | (code & 15) << quarter / 2 * 4);
        set(to, high, at(to, high) | code >> 4 << quarter * 2);
    }
    std::memcpy(to + 192, block.scales.data(), block.scales.size());
    store_u16(to + 208, block.scale);
}

}  // namespace holdfast::tensor
