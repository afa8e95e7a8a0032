#include "inference/tensor/quantize.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "common/base/assert.h"
#include "inference/tensor/float16.h"
#include "inference/tensor/k_blocks.h"

namespace holdfast::tensor {
namespace {

constexpr std::size_t small_elements = 32;  // of a block of Q8_0 and Q4_0

void dequantize_q8_0(const std::byte* from, float* to) {
    const float scale = load_f16(from);
    for (std::size_t i = 0; i < small_elements; ++i)
        to[i] = scale * static_cast<float>(std::to_integer<std::int8_t>(from[2 + i]));
}

// The low nibbles are the first half of the block.
void dequantize_q4_0(const std::byte* from, float* to) {
    const float scale = load_f16(from);
    for (std::size_t i = 0; i < small_elements / 2; ++i) {
        const int both = std::to_integer<int>(from[2 + i]);
        to[i] = scale * static_cast<float>((both & 15) - 8);
        to[i + small_elements / 2] = scale * static_cast<float>((both >> 4) - 8);
    }
}

template <unsigned bits>
void dequantize_affine(const std::byte* from, float* to) {
    const AffineBlock block = unpack_affine(from, bits);
    const float scale = f16_to_float(block.scale), minimum = f16_to_float(block.minimum);
    for (std::size_t i = 0; i < k_block_elements; ++i)
        to[i] =
            scale * static_cast<float>(block.scales[i / 32]) * static_cast<float>(block.codes[i]) -
            minimum * static_cast<float>(block.minima[i / 32]);
}

void dequantize_symmetric(const std::byte* from, float* to) {
    const SymmetricBlock block = unpack_symmetric(from);
    const float scale = f16_to_float(block.scale);
    for (std::size_t i = 0; i < k_block_elements; ++i)
        to[i] =
            scale * static_cast<float>(block.scales[i / 16]) * static_cast<float>(block.codes[i]);
}

float largest(const float* from) {
    return *std::max_element(from, from + small_elements,
                             [](float a, float b) { return std::abs(a) < std::abs(b); });
}

// The code of `value` where a block's scale is `scale`, which is finite.
int code(float value, float scale, float min, float max) {
    return scale == 0 ? 0 : static_cast<int>(std::nearbyint(std::clamp(value / scale, min, max)));
}

// Stores the scale that the codes are to be computed with: what f16 made of it, or 0 if it cannot
// be computed with.
float store_scale(std::byte* to, float scale) {
    store_u16(to, float_to_f16(scale));
    const float stored = load_f16(to);
    return std::isfinite(stored) ? stored : 0;
}

void quantize_q8_0(const float* from, std::byte* to) {
    const float scale = store_scale(to, std::abs(largest(from)) / 127);
    for (std::size_t i = 0; i < small_elements; ++i)
        to[2 + i] = static_cast<std::byte>(code(from[i], scale, -127, 127));
}

void quantize_q4_0(const float* from, std::byte* to) {
    const float scale = store_scale(to, largest(from) / -8);
    for (std::size_t i = 0; i < small_elements / 2; ++i) {
        const int low = code(from[i], scale, -8, 7) + 8;
        const int high = code(from[i + small_elements / 2], scale, -8, 7) + 8;
        to[2 + i] = static_cast<std::byte>(low | high << 4);
    }
}

template <unsigned bits>
void quantize_affine(const float* from, std::byte* to) {
    pack_affine(fit_affine(std::span<const float, k_block_elements>(from, k_block_elements), bits),
                bits, to);
}

void quantize_symmetric(const float* from, std::byte* to) {
    pack_symmetric(fit_symmetric(std::span<const float, k_block_elements>(from, k_block_elements)),
                   to);
}

// The index of the first of `count` numbers, `stride_bytes` apart, whose exponent bits are all set.
template <class Bits, Bits exponent>
std::size_t find_exponent(const std::byte* from, std::size_t stride_bytes, std::size_t count) {
    constexpr std::size_t strip = 4'096;
    const auto is_bad = [&](std::size_t i) {
        Bits bits = 0;
        std::memcpy(&bits, from + i * stride_bytes, sizeof bits);
        return (bits & exponent) == exponent;
    };
    for (std::size_t begin = 0; begin < count; begin += strip) {
        const std::size_t end = std::min(count, begin + strip);
        bool found = false;  // of the whole strip, so that the common case has no branch
        for (std::size_t i = begin; i < end; ++i) found |= is_bad(i);
        for (std::size_t i = begin; found && i < end; ++i)
            if (is_bad(i)) return i;
    }
    return count;
}

}  // namespace

void dequantize(DataType type, const std::byte* from, std::span<float> to) {
    const DataTypeTraits block = traits(type);
    HF_ASSERT(to.size() % block.block_elements == 0);
    const auto each = [&](const auto& dequantize_block) {
        for (std::size_t i = 0; i < to.size(); i += block.block_elements, from += block.block_bytes)
            dequantize_block(from, to.data() + i);
    };
    switch (type) {
        case DataType::bf16:
            return each([](const std::byte* at, float* value) { *value = load_bf16(at); });
        case DataType::f16:
            return each([](const std::byte* at, float* value) { *value = load_f16(at); });
        case DataType::f32:
            std::memcpy(to.data(), from, to.size_bytes());
            return;
        case DataType::q8_0:
            return each(dequantize_q8_0);
        case DataType::q4_0:
            return each(dequantize_q4_0);
        case DataType::q4_k:
            return each(dequantize_affine<4>);
        case DataType::q5_k:
            return each(dequantize_affine<5>);
        case DataType::q6_k:
            return each(dequantize_symmetric);
        case DataType::other:
            break;
    }
    HF_ASSERT(false);
}

void quantize(DataType type, std::span<const float> from, std::byte* to) {
    const DataTypeTraits block = traits(type);
    HF_ASSERT(from.size() % block.block_elements == 0);
    const auto each = [&](const auto& quantize_block) {
        for (std::size_t i = 0; i < from.size(); i += block.block_elements, to += block.block_bytes)
            quantize_block(from.data() + i, to);
    };
    switch (type) {
        case DataType::bf16:
            return each(
                [](const float* value, std::byte* at) { store_u16(at, float_to_bf16(*value)); });
        case DataType::f16:
            return each(
                [](const float* value, std::byte* at) { store_u16(at, float_to_f16(*value)); });
        case DataType::f32:
            std::memcpy(to, from.data(), from.size_bytes());
            return;
        case DataType::q8_0:
            return each(quantize_q8_0);
        case DataType::q4_0:
            return each(quantize_q4_0);
        case DataType::q4_k:
            return each(quantize_affine<4>);
        case DataType::q5_k:
            return each(quantize_affine<5>);
        case DataType::q6_k:
            return each(quantize_symmetric);
        case DataType::other:
            break;
    }
    HF_ASSERT(false);
}

std::size_t find_not_finite(DataType type, const std::byte* from, std::size_t count) {
    const DataTypeTraits block = traits(type);
    const std::size_t blocks = count / block.block_elements;
    const auto find_f16 = [&](std::size_t at) {
        return find_exponent<std::uint16_t, 0x7c00>(from + at, block.block_bytes, blocks) *
               block.block_elements;
    };
    std::size_t found = count;
    switch (type) {
        case DataType::bf16:
            return find_exponent<std::uint16_t, 0x7f80>(from, sizeof(std::uint16_t), count);
        case DataType::f32:
            return find_exponent<std::uint32_t, 0x7f80'0000>(from, sizeof(float), count);
        case DataType::f16:
        case DataType::q8_0:
        case DataType::q4_0:
            found = find_f16(0);
            break;
        case DataType::q4_k:
        case DataType::q5_k:
            found = std::min(find_f16(0), find_f16(2));  // the scale, the minimum
            break;
        case DataType::q6_k:
            found = find_f16(208);
            break;
        case DataType::other:
            HF_ASSERT(false);
    }
    return found;
}

}  // namespace holdfast::tensor
