#include <immintrin.h>

#include "backend/cpu/kernels.h"

namespace holdfast::cpu {
namespace {

constexpr int accumulators_max = 24;
constexpr int tile_rows_max = 12;

struct Lanes {
    static constexpr std::ptrdiff_t width = 16;
    __m512 v;

    static Lanes all(float x) { return {_mm512_set1_ps(x)}; }
    static Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
    void store(float* p) const { _mm512_storeu_ps(p, v); }
    static Lanes fma(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
    static Lanes max(Lanes a, Lanes b) { return {_mm512_max_ps(a.v, b.v)}; }
    static Lanes min(Lanes a, Lanes b) { return {_mm512_min_ps(a.v, b.v)}; }
    // x where a >= b or either is not a number, else 0.
    static Lanes zero_where_below(Lanes a, Lanes b, Lanes x) {
        return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_NLT_UQ), x.v)};
    }
    // x * 2^n, where n stands in the low bits of shifted = n + 1.5 * 2^23.
    static Lanes scale_by_power(Lanes x, Lanes shifted) {
        const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(shifted.v), 23);
        return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x.v), exponent))};
    }
    friend Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
    friend Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
    friend Lanes operator*(Lanes a, Lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
    friend Lanes operator/(Lanes a, Lanes b) { return {_mm512_div_ps(a.v, b.v)}; }
};

struct Bf16Panel {
    static constexpr std::size_t element_bytes = 2;
    const std::byte* weights;
    explicit Bf16Panel(const std::byte* panel) : weights(panel) {}
    void load(std::uint32_t k, int, Lanes& low, Lanes& high) const {
        const __m512i both = _mm512_loadu_si512(weights + k * std::size_t{64});
        low.v = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
        high.v = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(-65'536)));
    }
};

struct F16Panel {
    static constexpr std::size_t element_bytes = 2;
    const std::byte* weights;
    explicit F16Panel(const std::byte* panel) : weights(panel) {}
    void load(std::uint32_t k, int, Lanes& low, Lanes& high) const {
        const auto* at = reinterpret_cast<const __m256i*>(weights + k * std::size_t{64});
        low.v = _mm512_cvtph_ps(_mm256_loadu_si256(at));
        high.v = _mm512_cvtph_ps(_mm256_loadu_si256(at + 1));
    }
};

struct F32Panel {
    static constexpr std::size_t element_bytes = 4;
    const float* weights;
    explicit F32Panel(const std::byte* panel) : weights(reinterpret_cast<const float*>(panel)) {}
    void load(std::uint32_t k, int, Lanes& low, Lanes& high) const {
        low = Lanes::load(weights + k * std::size_t{32});
        high = Lanes::load(weights + k * std::size_t{32} + 16);
    }
};

}  // namespace
}  // namespace holdfast::cpu

#include "backend/cpu/kernels_body.h"

namespace holdfast::cpu {
constinit const Kernels avx512_kernels = make_kernels(Isa::avx512);
}  // namespace holdfast::cpu
