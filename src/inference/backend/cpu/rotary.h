// Rotary position embedding as transformers computes it for Qwen2 and Llama in float32: dimension i
// of a head turns with dimension i + head_dim / 2 by the angle position * theta^(-2i / head_dim),
// whose frequency Llama 3.1 stretches. Su et al., "RoFormer", 2021. Sine, cosine and powers are our
// own double-precision polynomials, because the C library's results differ between versions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "inference/tensor/config.h"

namespace holdfast::cpu {

struct SineCosine {
    double sine = 0, cosine = 0;
};

// For |angle| <= 2^20; absolute error below 1e-15.
SineCosine sine_cosine(double angle);

// base^exponent for base in [1, 1e12] and exponent in [0, 1]; relative error below 1e-14.
double power(double base, double exponent);

// Immutable; any thread.
class Rotary {
public:
    Rotary() = default;
    Rotary(float theta, std::uint32_t head_dim);

    // Llama 3.1's frequencies: those of long waves are divided by the factor, those of short ones
    // stay, those between are a mixture. transformers, _compute_llama3_parameters, in its order of
    // float32 operations (where a number divided by a tensor is the tensor's reciprocal times the
    // number).
    void stretch(const tensor::RopeScaling& scaling);
    // GGUF's form of the same: each frequency is divided by its number, one for each pair.
    void divide(std::span<const float> divisors);

    std::uint32_t pairs() const { return static_cast<std::uint32_t>(frequencies_.size()); }

    std::span<const float> frequencies() const { return frequencies_; }

    // pairs() sines, pairs() cosines. Like transformers, angle and frequency are rounded to
    // float32.
    void angles(std::uint32_t position, float* sines, float* cosines) const;

private:
    std::vector<float> frequencies_;
};

// Turns `heads` heads of 2 * pairs floats that stand side by side.
void rotate(float* x, std::uint32_t heads, std::uint32_t pairs, const float* sines,
            const float* cosines);

}  // namespace holdfast::cpu
