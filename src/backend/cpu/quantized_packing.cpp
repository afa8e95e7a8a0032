#include "backend/cpu/quantized_packing.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/float16.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/quantized_layout.h"
#include "base/assert.h"

namespace holdfast::cpu {
namespace {

using tensor::DataType;

using Bytes = const std::uint8_t*;

// 32 neighbouring weights of an output, whatever their type.
struct Block {
    std::uint8_t quants[block_inputs];
    std::uint16_t scale_bits, minimum_bits;  // binary16
    std::uint8_t factors[2];                 // of inputs 0..15 and 16..31, or of scale and minimum
};

std::uint16_t load_16(const std::uint8_t* at) {
    return load_bits(reinterpret_cast<const std::byte*>(at));
}

float widen_16(std::uint16_t bits) { return load_f16(reinterpret_cast<const std::byte*>(&bits)); }

// d, 32 signed quants.
Block read_q8_0(Bytes from) {
    Block block{.scale_bits = load_16(from)};
    for (std::size_t i = 0; i < block_inputs; ++i) block.quants[i] = from[2 + i] ^ 0x80U;
    return block;
}

// d, 16 bytes: quants 0..15 in the low halves, 16..31 in the high ones.
Block read_q4_0(Bytes from) {
    Block block{.scale_bits = load_16(from)};
    for (std::size_t i = 0; i < 16; ++i) {
        block.quants[i] = from[2 + i] & 0xfU;
        block.quants[16 + i] = from[2 + i] >> 4;
    }
    return block;
}

// Factors i of scale and minimum, 6 bits each, of 8 blocks in 12 bytes: the first 4 of either in
// the low bits of 4 bytes each; the last 4 in the halves of 4 bytes and the high bits of the
// others.
void read_k_factors(Bytes from, std::size_t i, std::uint8_t (&factors)[2]) {
    if (i < 4) {
        factors[0] = from[i] & 63U;
        factors[1] = from[i + 4] & 63U;
    } else {
        factors[0] = static_cast<std::uint8_t>((from[i + 4] & 0xfU) | (from[i - 4] >> 6 << 4));
        factors[1] = static_cast<std::uint8_t>((from[i + 4] >> 4) | (from[i] >> 6 << 4));
    }
}

// Block i of the 8 of a Q4_K or Q5_K superblock: d, minimum d, 12 bytes of factors; Q5_K: 32 bytes
// with high bit i of the quants of block i; 128 bytes, of which each 32 hold two blocks.
Block read_q4_or_5_k(Bytes from, std::size_t i, bool high_bits) {
    Block block{.scale_bits = load_16(from), .minimum_bits = load_16(from + 2)};
    read_k_factors(from + 4, i, block.factors);
    const Bytes high = from + 16;
    const Bytes low = high + (high_bits ? 32 : 0) + i / 2 * 32;
    for (std::size_t k = 0; k < block_inputs; ++k) {
        const unsigned bit = high_bits ? high[k] >> i & 1U : 0U;
        block.quants[k] = static_cast<std::uint8_t>((low[k] >> i % 2 * 4 & 0xfU) | bit << 4);
    }
    return block;
}

// Block i of the 8 of a Q6_K superblock: 128 bytes of low halves, 64 bytes of pairs of high bits,
// 16 signed factors, d. Each 4 blocks share 64 bytes of low halves and 32 of high bits.
Block read_q6_k(Bytes from, std::size_t i) {
    Block block{.scale_bits = load_16(from + 208)};
    const std::size_t part = i / 4, in_part = i % 4;
    const Bytes low = from + part * 64 + in_part % 2 * 32;
    const Bytes high = from + 128 + part * 32;
    for (std::size_t k = 0; k < block_inputs; ++k) {
        const unsigned bits = high[k] >> in_part * 2 & 3U;
        block.quants[k] = static_cast<std::uint8_t>((low[k] >> in_part / 2 * 4 & 0xfU) | bits << 4);
    }
    std::memcpy(block.factors, from + 192 + i * 2, 2);
    return block;
}

Block read_file(DataType type, const std::byte* row, std::uint32_t block) {
    const std::uint32_t blocks_each = quant_layout(type).group_blocks;
    const auto* const from = reinterpret_cast<Bytes>(row) +
                             std::size_t{block / blocks_each} * tensor::traits(type).block_bytes;
    switch (type) {
        case DataType::q8_0:
            return read_q8_0(from);
        case DataType::q4_0:
            return read_q4_0(from);
        case DataType::q4_k:
            return read_q4_or_5_k(from, block % blocks_each, false);
        case DataType::q5_k:
            return read_q4_or_5_k(from, block % blocks_each, true);
        case DataType::q6_k:
            return read_q6_k(from, block % blocks_each);
        default:
            break;
    }
    HF_ASSERT(false);
}

// Where quant k of output `lane` stands in a block of a panel.
struct Place {
    std::size_t low_byte, high_byte;
    unsigned low_shift, high_shift;

    Place(const QuantLayout& layout, std::size_t lane, std::size_t k) {
        const std::size_t step = k / 4, in_step = lane * 4 + k % 4;
        const bool halves = layout.low_bits == 4;
        low_byte = layout.low_begin() + (halves ? step % 4 : step) * step_bytes + in_step;
        low_shift = halves && step >= 4 ? 4 : 0;
        const bool pairs = layout.high_bits == 2;
        high_byte = layout.high_begin() + (pairs ? step / 4 * step_bytes : 0) + in_step;
        high_shift = static_cast<unsigned>(pairs ? step % 4 * 2 : step);
    }
};

void put(const QuantLayout& layout, const Block& block, std::size_t lane, std::byte* header,
         std::byte* at) {
    if (layout.group_blocks == 1) {
        std::memcpy(at + lane * 2, &block.scale_bits, 2);
    } else {
        std::memcpy(header + lane * 2, &block.scale_bits, 2);
        if (layout.minima) std::memcpy(header + 64 + lane * 2, &block.minimum_bits, 2);
        std::memcpy(at + lane, block.factors, 1);
        std::memcpy(at + 32 + lane, block.factors + 1, 1);
    }
    for (std::size_t k = 0; k < block_inputs; ++k) {
        const Place place(layout, lane, k);
        const std::byte quant{block.quants[k]};
        const std::byte low_mask{static_cast<std::uint8_t>(layout.low_bits == 4 ? 0xf : 0xff)};
        at[place.low_byte] |= (quant & low_mask) << place.low_shift;
        if (layout.high_bits > 0) at[place.high_byte] |= (quant >> 4) << place.high_shift;
    }
}

Block get(const QuantLayout& layout, std::size_t lane, const std::byte* header,
          const std::byte* at) {
    Block block{};
    if (layout.group_blocks == 1) {
        block.scale_bits = load_bits(at + lane * 2);
    } else {
        block.scale_bits = load_bits(header + lane * 2);
        if (layout.minima) block.minimum_bits = load_bits(header + 64 + lane * 2);
        std::memcpy(block.factors, at + lane, 1);
        std::memcpy(block.factors + 1, at + 32 + lane, 1);
    }
    for (std::size_t k = 0; k < block_inputs; ++k) {
        const Place place(layout, lane, k);
        const unsigned low = std::to_integer<unsigned>(at[place.low_byte]) >> place.low_shift;
        const unsigned high =
            layout.high_bits == 0
                ? 0
                : std::to_integer<unsigned>(at[place.high_byte]) >> place.high_shift &
                      ((1U << layout.high_bits) - 1);
        const unsigned low_mask = (1U << layout.low_bits) - 1;
        block.quants[k] = static_cast<std::uint8_t>((low & low_mask) | high << 4);
    }
    return block;
}

void dequantize(const QuantLayout& layout, const Block& block, float* to) {
    const float d = widen_16(block.scale_bits);
    for (std::size_t k = 0; k < block_inputs; ++k) {
        const auto quant = static_cast<float>(block.quants[k] - layout.offset);
        if (layout.group_blocks == 1) {
            to[k] = d * quant;
        } else if (layout.minima) {
            const float minimum =
                widen_16(block.minimum_bits) * static_cast<float>(block.factors[1]);
            to[k] = d * static_cast<float>(block.factors[0]) * quant - minimum;
        } else {
            const auto factor = static_cast<std::int8_t>(block.factors[k / 16]);
            to[k] = d * static_cast<float>(factor) * quant;
        }
    }
}

bool is_finite_16(std::uint16_t bits) { return (bits & 0x7c00U) != 0x7c00U; }

}  // namespace

void pack_quantized(DataType type, const std::byte* row, std::uint32_t inputs, std::uint32_t lane,
                    std::byte* panel) {
    const QuantLayout layout = quant_layout(type);
    for (std::uint32_t i = 0; i < inputs / block_inputs; ++i)
        put(layout, read_file(type, row, i), lane, panel + layout.header_at(i),
            panel + layout.block_at(i));
}

void unpack_quantized(DataType type, const std::byte* panel, std::uint32_t lane,
                      std::span<float> weights) {
    const QuantLayout layout = quant_layout(type);
    for (std::uint32_t i = 0; i < weights.size() / block_inputs; ++i)
        dequantize(layout,
                   get(layout, lane, panel + layout.header_at(i), panel + layout.block_at(i)),
                   weights.data() + std::size_t{i} * block_inputs);
}

std::size_t find_scale_not_finite(DataType type, const std::byte* from, std::size_t count) {
    const QuantLayout layout = quant_layout(type);
    const tensor::DataTypeTraits traits = tensor::traits(type);
    for (std::size_t i = 0; i < count / traits.block_elements; ++i) {
        const std::byte* const block = from + i * traits.block_bytes;
        const std::byte* const scale = block + (type == DataType::q6_k ? 208 : 0);
        if (!is_finite_16(load_bits(scale)) ||
            (layout.minima && !is_finite_16(load_bits(scale + 2))))
            return i * traits.block_elements;
    }
    return count;
}

}  // namespace holdfast::cpu
