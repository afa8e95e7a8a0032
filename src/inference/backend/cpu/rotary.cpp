#include "inference/backend/cpu/rotary.h"

#include <cmath>
#include <cstddef>

#include "common/base/assert.h"

namespace holdfast::cpu {
namespace {

constexpr double ln_2 = 0.693147180559945309417;

// ln(x) = e ln 2 + 2 artanh((m - 1) / (m + 1)) with x = m 2^e and m in [sqrt(1/2), sqrt(2)).
double logarithm(double x) {
    int exponent = 0;
    double mantissa = std::frexp(x, &exponent);  // exact
    if (mantissa < 0.70710678118654752) {
        mantissa *= 2;
        --exponent;
    }
    const double t = (mantissa - 1) / (mantissa + 1);
    double sum = 0;
    for (int n = 23; n >= 1; n -= 2) sum = std::fma(sum, t * t, 1.0 / n);
    return std::fma(exponent, ln_2, 2 * t * sum);
}

// exp(x) = 2^n exp(r), |r| <= ln(2) / 2, Taylor to degree 15.
double exponential(double x) {
    const double n = std::floor(x / ln_2 + 0.5);
    const double r = std::fma(-n, ln_2, x);
    double sum = 1;
    for (int i = 15; i >= 1; --i) sum = std::fma(sum, r / i, 1.0);
    return std::ldexp(sum, static_cast<int>(n));  // exact
}

}  // namespace

SineCosine sine_cosine(double angle) {
    constexpr double two_over_pi = 0.636619772367581343076;
    constexpr double half_pi_high = 1.57079632679489655800;  // pi / 2 = high + low
    constexpr double half_pi_low = 6.12323399573676603587e-17;
    const double n = std::floor(angle * two_over_pi + 0.5);
    const double r = std::fma(-n, half_pi_low, std::fma(-n, half_pi_high, angle));
    // Taylor on [-pi/4, pi/4] to degrees 17 and 18: the remainders are below 1e-17.
    const double square = r * r;
    double sine = 1, cosine = 1;
    for (int i = 16; i >= 2; i -= 2) sine = std::fma(sine, -square / (i * (i + 1)), 1.0);
    for (int i = 17; i >= 1; i -= 2) cosine = std::fma(cosine, -square / (i * (i + 1)), 1.0);
    sine *= r;
    switch (static_cast<std::int64_t>(n) & 3) {
        case 0:
            return {sine, cosine};
        case 1:
            return {cosine, -sine};
        case 2:
            return {-sine, -cosine};
        default:
            return {-cosine, sine};
    }
}

double power(double base, double exponent) { return exponential(exponent * logarithm(base)); }

Rotary::Rotary(float theta, std::uint32_t head_dim) : frequencies_(head_dim / 2) {
    for (std::size_t i = 0; i < frequencies_.size(); ++i) {
        const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
        frequencies_[i] = 1.0F / static_cast<float>(power(theta, exponent));
    }
}

void Rotary::stretch(const tensor::RopeScaling& scaling) {
    constexpr float two_pi = 6.28318530717958647692F;
    const auto context = static_cast<float>(scaling.original_context);
    const float low = scaling.low_frequency_factor, high = scaling.high_frequency_factor;
    const float long_wave = context / low, short_wave = context / high;
    for (float& frequency : frequencies_) {
        const float wave = 1.0F / frequency * two_pi;
        if (wave > long_wave) {
            frequency = frequency / scaling.factor;
        } else if (wave >= short_wave) {
            const float smooth = (1.0F / wave * context - low) / (high - low);
            frequency = (1.0F - smooth) * frequency / scaling.factor + smooth * frequency;
        }
    }
}

void Rotary::divide(std::span<const float> divisors) {
    HF_ASSERT(divisors.size() == frequencies_.size());
    for (std::size_t i = 0; i < divisors.size(); ++i) frequencies_[i] /= divisors[i];
}

void Rotary::angles(std::uint32_t position, float* sines, float* cosines) const {
    for (std::size_t i = 0; i < frequencies_.size(); ++i) {
        const float angle = static_cast<float>(position) * frequencies_[i];
        const SineCosine both = sine_cosine(angle);
        sines[i] = static_cast<float>(both.sine);
        cosines[i] = static_cast<float>(both.cosine);
    }
}

void rotate(float* x, std::uint32_t heads, std::uint32_t pairs, const float* sines,
            const float* cosines) {
    for (std::uint32_t head = 0; head < heads; ++head) {
        float* const low = x + std::size_t{head} * 2 * pairs;
        float* const high = low + pairs;
        for (std::uint32_t i = 0; i < pairs; ++i) {
            const float a = low[i], b = high[i];
            low[i] = a * cosines[i] - b * sines[i];
            high[i] = b * cosines[i] + a * sines[i];
        }
    }
}

}  // namespace holdfast::cpu
