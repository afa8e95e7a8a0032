#pragma once

#include <chrono>

namespace holdfast::base {

// How long `body` takes, for measurements. What waits or times out takes a Clock.
template <class Body>
double seconds_of(const Body& body) {
    const auto start = std::chrono::steady_clock::now();
    body();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace holdfast::base
