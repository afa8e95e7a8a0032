// Measured numbers and what they have in common.
#pragma once

#include <chrono>
#include <vector>

namespace holdfast::perf {

struct Summary {
    double median = 0, min = 0, max = 0;
};

// Of at least one number; of an even count the median lies between the middle two.
Summary summarize(std::vector<double> samples);

template <class Body>
double seconds_of(const Body& body) {
    const auto start = std::chrono::steady_clock::now();
    body();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace holdfast::perf
