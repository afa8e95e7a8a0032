// Numbers of CPUs, written as Linux writes them: "0-3,8".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"

namespace holdfast::cores {

// Ascending, each once.
using CpuSet = std::vector<std::uint32_t>;

inline constexpr std::uint32_t cpus_max = 8'192;  // as many as Linux can be built for

// Errors are one clause that fits behind the name of what is read: nothing named, what is no number
// or range, a range that ends before it begins, a number of cpus_max and above.
[[nodiscard]] base::Result<CpuSet> parse_cpu_list(std::string_view text);
std::string format_cpu_list(const CpuSet& cpus);

}  // namespace holdfast::cores
