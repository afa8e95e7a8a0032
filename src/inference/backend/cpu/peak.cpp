#include "inference/backend/cpu/peak.h"

#include <algorithm>
#include <vector>

#include "common/base/stopwatch.h"

namespace holdfast::cpu {

std::optional<double> arithmetic_peak(Isa isa, cores::Pool& pool) {
    if (isa == Isa::scalar) return std::nullopt;
    const bool wide = isa != Isa::avx2;
    constexpr std::uint64_t steps = 2'000'000;
    constexpr std::size_t rounds = 5;
    const std::uint64_t operations = 2 * steps * chains * (wide ? 16 : 8) * pool.threads();
    std::vector<float> results(pool.threads());
    std::vector<double> rates;
    for (std::size_t round = 0; round < rounds; ++round) {
        const double seconds = base::seconds_of([&] {
            pool.run(pool.threads(), operations, [&](std::uint32_t task) {
                results[task] += wide ? multiply_adds_avx512(steps) : multiply_adds_avx2(steps);
            });
        });
        rates.push_back(static_cast<double>(operations) / seconds);
    }
    std::ranges::nth_element(rates, rates.begin() + rounds / 2);
    return rates[rounds / 2];
}

}  // namespace holdfast::cpu
