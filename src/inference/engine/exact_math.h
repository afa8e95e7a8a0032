// exp and log whose bits depend on nothing but their argument: no libm, no instruction set. Plain
// additions, multiplications and one division in a fixed order (the build forbids contraction), so
// every machine draws the same token from the same logits. Absolute error of exp below 1e-15 for
// arguments up to 0, of log below 1e-15 relative or absolute, whichever is larger.
#pragma once

#include <bit>
#include <cstdint>

namespace holdfast::engine {

inline constexpr double ln2_high = 0x1.62e42feep-1;  // few bits: k * ln2_high is exact
inline constexpr double ln2_low = 0x1.a39ef35793c76p-33;

// Defined for |x| <= 700. Range reduction x = k ln 2 + r with |r| <= ln 2 / 2, then Taylor's
// series of degree 13 (its remainder is below 5e-18), then the exponent's bits.
inline double exact_exp(double x) {
    constexpr double log2_e = 0x1.71547652b82fep+0;
    constexpr double inverse_factorials[] = {1.0 / 6227020800,
                                             1.0 / 479001600,
                                             1.0 / 39916800,
                                             1.0 / 3628800,
                                             1.0 / 362880,
                                             1.0 / 40320,
                                             1.0 / 5040,
                                             1.0 / 720,
                                             1.0 / 120,
                                             1.0 / 24,
                                             1.0 / 6,
                                             0.5,
                                             1.0,
                                             1.0};
    // 32 bits: vector instructions that convert to more are rare.
    const auto k = static_cast<std::int32_t>(x * log2_e + (x < 0 ? -0.5 : 0.5));
    const auto k_real = static_cast<double>(k);
    const double r = (x - k_real * ln2_high) - k_real * ln2_low;
    double sum = 0.0;
    for (const double coefficient : inverse_factorials) sum = sum * r + coefficient;
    return sum * std::bit_cast<double>(static_cast<std::uint64_t>(k + 1023) << 52);
}

// Defined for positive normal x. x = 2^k m with m in [sqrt(1/2), sqrt(2)), then the series of the
// inverse hyperbolic tangent in s = (m - 1) / (m + 1), |s| < 0.172.
inline double exact_log(double x) {
    constexpr double sqrt_2 = 0x1.6a09e667f3bcdp+0;
    const auto bits = std::bit_cast<std::uint64_t>(x);
    auto k = static_cast<std::int64_t>(bits >> 52) - 1023;
    double m = std::bit_cast<double>((bits & 0x000fffffffffffff) | 0x3ff0000000000000);
    if (m >= sqrt_2) {
        m *= 0.5;
        ++k;
    }
    const double s = (m - 1.0) / (m + 1.0);
    const double square = s * s;
    double sum = 0.0;
    for (int odd = 23; odd >= 1; odd -= 2) sum = sum * square + 1.0 / odd;
    const auto k_real = static_cast<double>(k);
    return k_real * ln2_high + (2.0 * s * sum + k_real * ln2_low);
}

}  // namespace holdfast::engine
