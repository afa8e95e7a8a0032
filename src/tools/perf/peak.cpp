#include "tools/perf/peak.h"

#include <utility>
#include <vector>

#include "common/cores/pool.h"
#include "tools/perf/samples.h"

namespace holdfast::perf {

base::Result<std::optional<double>> arithmetic_peak(cpu::Isa isa, std::uint32_t threads,
                                                    cores::Placement placement) {
    if (isa == cpu::Isa::scalar) return std::nullopt;
    const bool wide = isa != cpu::Isa::avx2;
    constexpr std::uint64_t steps = 2'000'000;
    constexpr int rounds = 5;
    const std::uint64_t operations = 2 * steps * chains * (wide ? 16 : 8);
    HF_TRY_ASSIGN(const auto pool, cores::Pool::make(threads, std::move(placement)));
    std::vector<float> results(threads);
    std::vector<double> rates;
    for (int round = 0; round < rounds; ++round) {
        const double seconds = seconds_of([&] {
            pool->run(threads, operations * threads, [&](std::uint32_t task) {
                results[task] += wide ? multiply_adds_avx512(steps) : multiply_adds_avx2(steps);
            });
        });
        rates.push_back(static_cast<double>(operations) * threads / seconds);
    }
    return summarize(std::move(rates)).median;
}

}  // namespace holdfast::perf
