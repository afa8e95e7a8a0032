// The arithmetic peak: float32 multiply-adds from registers alone.
#pragma once

#include <cstdint>
#include <optional>

#include "common/base/error.h"
#include "common/cores/placement.h"
#include "inference/backend/cpu/isa.h"

namespace holdfast::perf {

// Floating-point operations per second (a multiply-add is two) of all threads with the registers
// of `isa`. nullopt where there is no fused multiply-add to measure. Errors: no threads.
[[nodiscard]] base::Result<std::optional<double>> arithmetic_peak(cpu::Isa isa,
                                                                  std::uint32_t threads,
                                                                  cores::Placement placement = {});

// The result has no meaning, but depends on every multiply-add. Only for processors that have the
// instructions.
inline constexpr std::uint64_t chains =
    12;  // two units of latency 5 need 10; AVX2 has 16 registers
float multiply_adds_avx2(std::uint64_t steps);    // chains * 8 a step
float multiply_adds_avx512(std::uint64_t steps);  // chains * 16 a step

}  // namespace holdfast::perf
