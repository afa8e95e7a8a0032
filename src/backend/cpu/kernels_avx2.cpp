#include <immintrin.h>

#include "backend/cpu/kernels.h"

namespace holdfast::cpu {
namespace {

constexpr int accumulators_max = 12;
constexpr int tile_rows_max = 6;

struct Lanes {
    static constexpr std::ptrdiff_t width = 8;
    __m256 v;

    static Lanes all(float x) { return {_mm256_set1_ps(x)}; }
    static Lanes load(const float* p) { return {_mm256_loadu_ps(p)}; }
    void store(float* p) const { _mm256_storeu_ps(p, v); }
    static Lanes fma(Lanes a, Lanes b, Lanes c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
    static Lanes max(Lanes a, Lanes b) { return {_mm256_max_ps(a.v, b.v)}; }
    static Lanes min(Lanes a, Lanes b) { return {_mm256_min_ps(a.v, b.v)}; }
    // x where a >= b or either is not a number, else 0.
    static Lanes zero_where_below(Lanes a, Lanes b, Lanes x) {
        return {_mm256_and_ps(_mm256_cmp_ps(a.v, b.v, _CMP_NLT_UQ), x.v)};
    }
    // x * 2^n, where n stands in the low bits of shifted = n + 1.5 * 2^23.
    static Lanes scale_by_power(Lanes x, Lanes shifted) {
        const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted.v), 23);
        return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x.v), exponent))};
    }
    friend Lanes operator+(Lanes a, Lanes b) { return {_mm256_add_ps(a.v, b.v)}; }
    friend Lanes operator-(Lanes a, Lanes b) { return {_mm256_sub_ps(a.v, b.v)}; }
    friend Lanes operator*(Lanes a, Lanes b) { return {_mm256_mul_ps(a.v, b.v)}; }
    friend Lanes operator/(Lanes a, Lanes b) { return {_mm256_div_ps(a.v, b.v)}; }
};

struct Bf16Panel {
    static constexpr std::size_t element_bytes = 2;
    const std::byte* weights;
    explicit Bf16Panel(const std::byte* panel) : weights(panel) {}
    void load(std::uint32_t k, int pair, Lanes& low, Lanes& high) const {
        const auto* at = reinterpret_cast<const __m256i*>(weights + k * std::size_t{64}) + pair;
        const __m256i both = _mm256_loadu_si256(at);
        low.v = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
        high.v = _mm256_castsi256_ps(_mm256_and_si256(both, _mm256_set1_epi32(-65'536)));
    }
};

struct F16Panel {
    static constexpr std::size_t element_bytes = 2;
    const std::byte* weights;
    explicit F16Panel(const std::byte* panel) : weights(panel) {}
    void load(std::uint32_t k, int pair, Lanes& low, Lanes& high) const {
        const auto* at = reinterpret_cast<const __m128i*>(weights + k * std::size_t{64}) + pair;
        low.v = _mm256_cvtph_ps(_mm_loadu_si128(at));
        high.v = _mm256_cvtph_ps(_mm_loadu_si128(at + 2));
    }
};

struct F32Panel {
    static constexpr std::size_t element_bytes = 4;
    const float* weights;
    explicit F32Panel(const std::byte* panel) : weights(reinterpret_cast<const float*>(panel)) {}
    void load(std::uint32_t k, int pair, Lanes& low, Lanes& high) const {
        const float* const at = weights + k * std::size_t{32} + pair * 8;
        low = Lanes::load(at);
        high = Lanes::load(at + 16);
    }
};

}  // namespace
}  // namespace holdfast::cpu

#include "backend/cpu/kernels_body.h"

namespace holdfast::cpu {
constinit const Kernels avx2_kernels = make_kernels(Isa::avx2);
}  // namespace holdfast::cpu
