#pragma once

#include <string_view>

#include "common/base/error.h"

namespace holdfast::cpu {

// Instruction sets with kernels of their own, weakest first. All give the same bits.
enum class Isa { scalar, avx2, avx512, vnni };
inline constexpr Isa all_isas[] = {Isa::scalar, Isa::avx2, Isa::avx512, Isa::vnni};

std::string_view name(Isa isa);
bool is_supported(Isa isa);  // by this processor and operating system

// The named instruction set, or the best supported one for an empty name.
[[nodiscard]] base::Result<Isa> choose_isa(std::string_view wanted);

}  // namespace holdfast::cpu
