// What the tensor cores of compute capability 9.0 compute, in integers on the CPU: the oracle of
// every product of this backend, so that expected bits can be made where there is no device.
// The model is that of MMA-Sim (arXiv 2511.10909), checked on a device by tensor_core_test.cpp.
#pragma once

#include <cstdint>
#include <span>

namespace holdfast::cuda {

enum class Operand : std::uint8_t { bf16, f16 };

// accumulator + sum of a[i] * b[i], for up to 16 pairs: all terms are cut off (not rounded) 25 bits
// below the largest exponent among them, added exactly, and the sum is cut off to float32.
float tensor_core_step(Operand type, std::span<const std::uint16_t> a,
                       std::span<const std::uint16_t> b, float accumulator);

// The chain of such steps over ascending k, from `start`.
float tensor_core_chain(Operand type, std::span<const std::uint16_t> a,
                        std::span<const std::uint16_t> b, float start = 0);

}  // namespace holdfast::cuda
