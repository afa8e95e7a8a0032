#pragma once

#include <chrono>

namespace holdfast::base {

// For people and metrics.
template <class Rep, class Period>
constexpr double seconds(std::chrono::duration<Rep, Period> duration) {
    return std::chrono::duration<double>(duration).count();
}

}  // namespace holdfast::base
