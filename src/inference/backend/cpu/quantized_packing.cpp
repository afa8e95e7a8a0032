#include "inference/backend/cpu/quantized_packing.h"

#include <array>
#include <cstring>

#include "common/base/assert.h"
#include "inference/backend/cpu/kernels.h"
#include "inference/backend/cpu/quantized_layout.h"
#include "inference/tensor/float16.h"
#include "inference/tensor/k_blocks.h"

namespace holdfast::cpu {
namespace {

using tensor::DataType;

// Added to the signed quants of Q6_K where they are kept.
constexpr int symmetric_offset = quant_layout(DataType::q6_k).offset;

// 32 neighbouring weights of an output, whatever their type.
struct Block {
    std::uint8_t quants[block_inputs];
    std::uint16_t scale_bits, minimum_bits;  // binary16
    std::uint8_t factors[2];                 // of inputs 0..15 and 16..31, or of scale and minimum
};

// d, 32 signed quants.
Block read_q8_0(const std::byte* from) {
    Block block{.scale_bits = tensor::load_u16(from)};
    for (std::size_t i = 0; i < block_inputs; ++i)
        block.quants[i] = std::to_integer<std::uint8_t>(from[2 + i] ^ std::byte{0x80});
    return block;
}

// d, 16 bytes: quants 0..15 in the low halves, 16..31 in the high ones.
Block read_q4_0(const std::byte* from) {
    Block block{.scale_bits = tensor::load_u16(from)};
    for (std::size_t i = 0; i < 16; ++i) {
        block.quants[i] = std::to_integer<std::uint8_t>(from[2 + i] & std::byte{0xf});
        block.quants[16 + i] = std::to_integer<std::uint8_t>(from[2 + i] >> 4);
    }
    return block;
}

// The parts of a K type's block that have their own factors.
using KBlocks = std::array<Block, tensor::k_block_elements / block_inputs>;

KBlocks split(const tensor::AffineBlock& from) {
    KBlocks blocks;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        blocks[i] = {.scale_bits = from.scale,
                     .minimum_bits = from.minimum,
                     .factors = {from.scales[i], from.minima[i]}};
        std::memcpy(blocks[i].quants, from.codes.data() + i * block_inputs, block_inputs);
    }
    return blocks;
}

KBlocks split(const tensor::SymmetricBlock& from) {
    KBlocks blocks;
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        blocks[i] = {.scale_bits = from.scale};
        std::memcpy(blocks[i].factors, from.scales.data() + i * 2, 2);
        for (std::size_t k = 0; k < block_inputs; ++k)
            blocks[i].quants[k] =
                static_cast<std::uint8_t>(from.codes[i * block_inputs + k] + symmetric_offset);
    }
    return blocks;
}

// Calls put(i, block) with every 32 weights of a row.
template <class Put>
void read_row(DataType type, const std::byte* row, std::uint32_t inputs, const Put& put) {
    const tensor::DataTypeTraits traits = tensor::traits(type);
    const auto put_all = [&](std::uint32_t first, const KBlocks& blocks) {
        for (std::uint32_t i = 0; i < blocks.size(); ++i) put(first + i, blocks[i]);
    };
    for (std::uint32_t k = 0; k < inputs; k += traits.block_elements, row += traits.block_bytes) {
        const std::uint32_t i = k / block_inputs;
        switch (type) {
            case DataType::q8_0:
                put(i, read_q8_0(row));
                break;
            case DataType::q4_0:
                put(i, read_q4_0(row));
                break;
            case DataType::q4_k:
                put_all(i, split(tensor::unpack_affine(row, 4)));
                break;
            case DataType::q5_k:
                put_all(i, split(tensor::unpack_affine(row, 5)));
                break;
            case DataType::q6_k:
                put_all(i, split(tensor::unpack_symmetric(row)));
                break;
            default:
                HF_ASSERT(false);
        }
    }
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
        block.scale_bits = tensor::load_u16(at + lane * 2);
    } else {
        block.scale_bits = tensor::load_u16(header + lane * 2);
        if (layout.minima) block.minimum_bits = tensor::load_u16(header + 64 + lane * 2);
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
    const float d = tensor::f16_to_float(block.scale_bits);
    for (std::size_t k = 0; k < block_inputs; ++k) {
        const auto quant = static_cast<float>(block.quants[k] - layout.offset);
        if (layout.group_blocks == 1) {
            to[k] = d * quant;
        } else if (layout.minima) {
            const float minimum =
                tensor::f16_to_float(block.minimum_bits) * static_cast<float>(block.factors[1]);
            to[k] = d * static_cast<float>(block.factors[0]) * quant - minimum;
        } else {
            const auto factor = static_cast<std::int8_t>(block.factors[k / 16]);
            to[k] = d * static_cast<float>(factor) * quant;
        }
    }
}

}  // namespace

void pack_quantized(DataType type, const std::byte* row, std::uint32_t inputs, std::uint32_t lane,
                    std::byte* panel) {
    const QuantLayout layout = quant_layout(type);
    read_row(type, row, inputs, [&](std::uint32_t i, const Block& block) {
        put(layout, block, lane, panel + layout.header_at(i), panel + layout.block_at(i));
    });
}

void unpack_quantized(DataType type, const std::byte* panel, std::uint32_t lane,
                      std::span<float> weights) {
    const QuantLayout layout = quant_layout(type);
    for (std::uint32_t i = 0; i < weights.size() / block_inputs; ++i)
        dequantize(layout,
                   get(layout, lane, panel + layout.header_at(i), panel + layout.block_at(i)),
                   weights.data() + std::size_t{i} * block_inputs);
}

}  // namespace holdfast::cpu
