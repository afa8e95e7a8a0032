// The arithmetic peak: float32 multiply-adds from registers alone.
#pragma once

#include <cstdint>
#include <optional>

#include "common/cores/pool.h"
#include "inference/backend/cpu/isa.h"

namespace holdfast::cpu {

// Floating-point operations per second (a multiply-add is two) of all threads with the registers
// of `isa`: the median of some rounds. nullopt where there is no fused multiply-add to measure.
std::optional<double> arithmetic_peak(Isa isa, cores::Pool& pool);

// The result has no meaning, but depends on every multiply-add. Only for processors that have the
// instructions.
inline constexpr std::uint64_t chains =
    12;  // two units of latency 5 need 10; AVX2 has 16 registers
float multiply_adds_avx2(std::uint64_t steps);    // chains * 8 a step
float multiply_adds_avx512(std::uint64_t steps);  // chains * 16 a step

}  // namespace holdfast::cpu
