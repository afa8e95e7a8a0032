#include <immintrin.h>

#include "inference/backend/cpu/peak.h"

namespace holdfast::cpu {

float multiply_adds_avx512(std::uint64_t steps) {
    const __m512 factor = _mm512_set1_ps(0.999F), term = _mm512_set1_ps(0.001F);
    __m512 sums[chains];
    for (__m512& sum : sums) sum = term;
    for (std::uint64_t step = 0; step < steps; ++step)
        for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, factor, term);
    __m512 all = term;
    for (const __m512& sum : sums) all = _mm512_add_ps(all, sum);
    return _mm512_cvtss_f32(all);
}

}  // namespace holdfast::cpu
