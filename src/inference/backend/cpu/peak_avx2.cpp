#include <immintrin.h>

#include "inference/backend/cpu/peak.h"

namespace holdfast::cpu {

float multiply_adds_avx2(std::uint64_t steps) {
    const __m256 factor = _mm256_set1_ps(0.999F), term = _mm256_set1_ps(0.001F);
    __m256 sums[chains];
    for (__m256& sum : sums) sum = term;
    for (std::uint64_t step = 0; step < steps; ++step)
        for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, factor, term);
    __m256 all = term;
    for (const __m256& sum : sums) all = _mm256_add_ps(all, sum);
    return _mm256_cvtss_f32(all);
}

}  // namespace holdfast::cpu
