// Operands of 16 bits for tests of products.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "inference/backend/cuda/reference.h"

namespace holdfast::cuda::testing {

// Cut off to bf16, or rounded to f16 where it is in its range; what the tests give is either exact
// or arbitrary.
inline std::uint16_t encode(Operand type, float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if (type == Operand::bf16) return static_cast<std::uint16_t>(bits >> 16);
    const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
    if (std::isnan(value)) return 0x7e00;
    const float magnitude = std::fabs(value);
    if (magnitude >= 65520) return sign | 0x7c00;
    if (magnitude < 0x1p-14F)
        return sign | static_cast<std::uint16_t>(std::nearbyint(magnitude * 0x1p24F));
    const int exponent = std::ilogb(magnitude);
    // A significand that rounds up to 2 carries into the exponent, as it must.
    const auto significand =
        static_cast<std::uint32_t>(std::nearbyint(std::scalbn(magnitude, 10 - exponent)));
    return sign | static_cast<std::uint16_t>((static_cast<std::uint32_t>(exponent + 14) << 10) +
                                             significand);
}

// To the nearest bf16, ties to even.
inline std::uint16_t to_bf16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float decode(Operand type, std::uint16_t bits) {
    if (type == Operand::bf16) return std::bit_cast<float>(std::uint32_t{bits} << 16);
    const float sign = (bits & 0x8000) != 0 ? -1.0F : 1.0F;
    const int exponent = bits >> 10 & 31;
    const auto fraction = static_cast<float>(bits & 1023);
    if (exponent == 31) return fraction == 0 ? sign * INFINITY : NAN;
    if (exponent == 0) return sign * fraction * 0x1p-24F;
    return sign * std::scalbn(1024 + fraction, exponent - 25);
}

}  // namespace holdfast::cuda::testing
