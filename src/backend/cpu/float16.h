// The 16-bit float formats, widened exactly.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace holdfast::cpu {

inline std::uint16_t load_bits(const std::byte* at) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, at, sizeof bits);
    return bits;
}

inline float load_bf16(const std::byte* at) {
    return std::bit_cast<float>(std::uint32_t{load_bits(at)} << 16);
}

// IEEE 754 binary16. Multiplying by a power of two is exact and handles subnormal numbers.
inline float load_f16(const std::byte* at) {
    const std::uint32_t bits = load_bits(at);
    const std::uint32_t sign = (bits & 0x8000U) << 16;
    const std::uint32_t magnitude = bits & 0x7fffU;
    if (magnitude >= 0x7c00U) return std::bit_cast<float>(sign | 0x7f80'0000U | magnitude << 13);
    const float value = std::bit_cast<float>(magnitude << 13) * 0x1p112F;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
}

}  // namespace holdfast::cpu
