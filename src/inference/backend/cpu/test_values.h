// What the tests of this room share: numbers, their bits, and the instruction sets at hand.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <iterator>
#include <vector>

#include "common/base/random.h"
#include "inference/backend/cpu/isa.h"

namespace holdfast::cpu {

using Values = std::vector<float>;

// Those that this machine has, the slowest first.
inline std::vector<Isa> isas() {
    std::vector<Isa> supported;
    std::ranges::copy_if(all_isas, std::back_inserter(supported), is_supported);
    return supported;
}

// Evenly distributed in [-scale, scale).
inline Values noise(std::size_t count, std::uint32_t stream, float scale = 1) {
    Values values(count);
    for (std::size_t i = 0; i < count; ++i)
        values[i] = scale * (2 * base::uniform(11, stream, i) - 1);
    return values;
}

inline ::testing::AssertionResult same_bits(const Values& a, const Values& b) {
    if (a.size() != b.size()) return ::testing::AssertionFailure() << "sizes differ";
    for (std::size_t i = 0; i < a.size(); ++i)
        if (std::bit_cast<std::uint32_t>(a[i]) != std::bit_cast<std::uint32_t>(b[i]))
            return ::testing::AssertionFailure()
                   << "element " << i << ": " << a[i] << " and " << b[i];
    return ::testing::AssertionSuccess();
}

}  // namespace holdfast::cpu
