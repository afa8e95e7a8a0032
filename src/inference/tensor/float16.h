// The 16-bit float formats, in plain integer arithmetic: the same on every machine.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace holdfast::tensor {

inline float bf16_to_float(std::uint16_t bits) {
    return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

// IEEE 754 binary16. Multiplying by a power of two is exact and handles subnormal numbers.
inline float f16_to_float(std::uint16_t bits) {
    const std::uint32_t sign = (bits & 0x8000U) << 16;
    const std::uint32_t magnitude = bits & 0x7fffU;
    if (magnitude >= 0x7c00U) return std::bit_cast<float>(sign | 0x7f80'0000U | magnitude << 13);
    const float value = std::bit_cast<float>(magnitude << 13) * 0x1p112F;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
}

// Both round to nearest, ties to even; what is too large becomes infinite. Not for NaN.
inline std::uint16_t float_to_bf16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1)) >> 16);
}

inline std::uint16_t float_to_f16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = bits >> 16 & 0x8000U;
    const std::uint32_t magnitude = bits & 0x7fff'ffffU;
    std::uint32_t half = 0;
    if (magnitude >= 0x4780'0000U) {  // 65536 and above
        half = 0x7c00U;
    } else if (magnitude < 0x3880'0000U) {
        // Below 2^-14, the smallest normal number: adding 1/2 leaves the multiple of 2^-24, rounded
        // by the addition, in the low bits.
        half = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3f00'0000U;
    } else {
        half = (magnitude - 0x3800'0000U + 0xfffU + (magnitude >> 13 & 1)) >> 13;
    }
    return static_cast<std::uint16_t>(sign | half);
}

// A number as it lies in a file, at any address.
inline std::uint16_t load_u16(const std::byte* at) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, at, sizeof bits);
    return bits;
}
inline void store_u16(std::byte* at, std::uint16_t bits) { std::memcpy(at, &bits, sizeof bits); }

inline float load_f16(const std::byte* at) { return f16_to_float(load_u16(at)); }
inline float load_bf16(const std::byte* at) { return bf16_to_float(load_u16(at)); }

}  // namespace holdfast::tensor
