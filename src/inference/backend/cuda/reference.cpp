#include "inference/backend/cuda/reference.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>

#include "inference/backend/cuda/profile.h"

namespace holdfast::cuda {
namespace {

constexpr int fraction_bits = 25;  // kept below the largest exponent of a step
constexpr int exponent_of_zero = -126;

// sign * significand * 2^(exponent - fraction), 1 <= significand * 2^-fraction < 2 unless
// subnormal.
struct Parts {
    std::int64_t significand = 0;  // with its sign
    int exponent = 0;
    bool infinite = false, nan = false;
};

Parts split(std::uint32_t bits, int exponent_width, int fraction) {
    const auto mask = (1u << exponent_width) - 1;
    const int bias = static_cast<int>(mask >> 1), width = 1 + exponent_width + fraction;
    const auto exponent = static_cast<int>(bits >> fraction & mask);
    auto significand = static_cast<std::int64_t>(bits & ((1u << fraction) - 1));
    if (exponent == static_cast<int>(mask))
        return {bits >> (width - 1) & 1 ? -1 : 1, 0, significand == 0, significand != 0};
    if (exponent > 0) significand |= std::int64_t{1} << fraction;
    return {bits >> (width - 1) & 1 ? -significand : significand, std::max(exponent, 1) - bias,
            false, false};
}

Parts split(Operand type, std::uint16_t bits) {
    return type == Operand::bf16 ? split(bits, 8, 7) : split(bits, 5, 10);
}

constexpr float quiet_nan() { return std::bit_cast<float>(0x7fffffffu); }
float infinity(bool negative) { return std::bit_cast<float>(negative ? 0xff800000u : 0x7f800000u); }

// sum * 2^(exponent - fraction_bits), cut off to float32.
float to_float(std::int64_t sum, int exponent) {
    if (sum == 0) return 0;
    const bool negative = sum < 0;
    auto magnitude = static_cast<std::uint64_t>(negative ? -sum : sum);
    const int top = static_cast<int>(std::bit_width(magnitude)) - 1;
    const int value_exponent = exponent - fraction_bits + top;
    if (value_exponent > 127) return infinity(negative);
    // The bit of weight 2^(lowest) is the last that float32 keeps.
    const int lowest = std::max(value_exponent, -126) - 23;
    const int shift = lowest - (exponent - fraction_bits);
    magnitude = shift >= 64 ? 0 : shift >= 0 ? magnitude >> shift : magnitude << -shift;
    const auto exponent_bits =
        value_exponent < -126 ? 0u : static_cast<unsigned>(value_exponent + 127);
    const auto fraction = static_cast<std::uint32_t>(magnitude) & 0x7fffffu;
    return std::bit_cast<float>((negative ? 0x80000000u : 0u) | exponent_bits << 23 | fraction);
}

// Whether a step's special values decide it, and how.
struct Special {
    bool nan = false, plus = false, minus = false;

    void add(bool is_nan, bool is_infinite, bool negative) {
        nan |= is_nan;
        if (is_infinite) (negative ? minus : plus) = true;
    }
};

}  // namespace

float tensor_core_step(Operand type, std::span<const std::uint16_t> a,
                       std::span<const std::uint16_t> b, float accumulator) {
    const int fraction = type == Operand::bf16 ? 7 : 10;
    std::array<std::int64_t, step_k + 1> terms{};  // in units of 2^(exponent - fraction_bits)
    std::array<int, step_k + 1> exponents{};
    Special special;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const Parts x = split(type, a[i]), y = split(type, b[i]);
        const bool infinite = x.infinite || y.infinite;
        const bool nan = x.nan || y.nan ||
                         (infinite && ((!x.infinite && x.significand == 0) ||
                                       (!y.infinite && y.significand == 0)));
        special.add(nan, infinite && !nan, (x.significand < 0) != (y.significand < 0));
        terms[i] =
            x.significand * y.significand * (std::int64_t{1} << (fraction_bits - 2 * fraction));
        exponents[i] = x.exponent + y.exponent;
    }
    const Parts c = split(std::bit_cast<std::uint32_t>(accumulator), 8, 23);
    special.add(c.nan, c.infinite, c.significand < 0);
    if (special.nan || (special.plus && special.minus)) return quiet_nan();
    if (special.plus || special.minus) return infinity(special.minus);
    terms[a.size()] = c.significand * 4;
    exponents[a.size()] = c.exponent;

    int largest = 2 * exponent_of_zero;
    for (std::size_t i = 0; i <= a.size(); ++i) {
        if (terms[i] == 0) exponents[i] = exponent_of_zero;
        largest = std::max(largest, exponents[i]);
    }
    std::int64_t sum = 0;
    for (std::size_t i = 0; i <= a.size(); ++i) {
        const int shift = std::min(largest - exponents[i], 63);
        sum += terms[i] < 0 ? -(-terms[i] >> shift) : terms[i] >> shift;
    }
    return to_float(sum, largest);
}

float tensor_core_chain(Operand type, std::span<const std::uint16_t> a,
                        std::span<const std::uint16_t> b, float start) {
    for (std::size_t k = 0; k < a.size(); k += step_k) {
        const std::size_t n = std::min<std::size_t>(step_k, a.size() - k);
        start = tensor_core_step(type, a.subspan(k, n), b.subspan(k, n), start);
    }
    return start;
}

}  // namespace holdfast::cuda
