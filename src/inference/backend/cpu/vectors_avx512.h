// What kernels_body.h needs, of AVX-512; with integer dot products and with bf16 dot products where
// the including file is compiled for them.
#pragma once

#include <immintrin.h>

#include "inference/backend/cpu/kernels.h"

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

#if defined(__AVX512BF16__)
// For native numerics: a lane holds two neighbouring inputs of weights and of activations.
struct Bf16Panel {
    static constexpr std::size_t element_bytes = 4;
    const float* pairs;
    explicit Bf16Panel(const std::byte* panel) : pairs(reinterpret_cast<const float*>(panel)) {}
    void load(std::uint32_t k, int, Lanes& low, Lanes& high) const {
        low = Lanes::load(pairs + k * std::size_t{32});
        high = Lanes::load(pairs + k * std::size_t{32} + 16);
    }
    static Lanes multiply_add(Lanes x, Lanes weights, Lanes sums) {
        return {_mm512_dpbf16_ps(sums.v, reinterpret_cast<__m512bh>(x.v),
                                 reinterpret_cast<__m512bh>(weights.v))};
    }
};
#else
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
#endif

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

struct Ints {
    static constexpr std::ptrdiff_t width = 16;
    static constexpr int block_vectors = 2, block_rows = 4;
#if defined(__AVX512VNNI__)
    static constexpr std::int32_t byte_offset = 128;
#else
    static constexpr std::int32_t byte_offset = 0;  // see dot()
#endif
    __m512i v;

    static Ints all(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
    static Ints all_bytes(std::uint8_t x) { return {_mm512_set1_epi8(static_cast<char>(x))}; }
    static Ints load(const std::byte* p) { return {_mm512_loadu_si512(p)}; }
    Lanes to_float() const { return {_mm512_cvtepi32_ps(v)}; }
    // sums + the products of four weights with four signed numbers in [-127, 127].
    template <bool Bytes>
    static Ints dot(Ints sums, Ints weights, Ints x) {
#if defined(__AVX512VNNI__)
        return {_mm512_dpbusd_epi32(sums.v, weights.v, x.v)};
#else
        // The sum of two products is a signed 16-bit number and saturates beyond it. It stays
        // within as long as weights are below 128. `Bytes` are any weights: they lose their offset
        // of 128 here and give their sign to the other factor, so that no magnitude exceeds 128
        // and no sum 2 * 128 * 127.
        if constexpr (Bytes) {
            const __m512i values = _mm512_xor_si512(weights.v, _mm512_set1_epi8(-128));
            weights.v = _mm512_abs_epi8(values);
            x.v =
                _mm512_mask_sub_epi8(x.v, _mm512_movepi8_mask(values), _mm512_setzero_si512(), x.v);
        }
        const __m512i pairs = _mm512_maddubs_epi16(weights.v, x.v);
        return {_mm512_add_epi32(sums.v, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))};
#endif
    }
    friend Ints operator&(Ints a, Ints b) { return {_mm512_and_si512(a.v, b.v)}; }
    friend Ints operator|(Ints a, Ints b) { return {_mm512_or_si512(a.v, b.v)}; }
    friend Ints operator<<(Ints a, int bits) {
        return {_mm512_slli_epi16(a.v, static_cast<unsigned>(bits))};
    }
    friend Ints operator>>(Ints a, int bits) {
        return {_mm512_srli_epi16(a.v, static_cast<unsigned>(bits))};
    }
};

inline Lanes load_float16(const std::byte* at) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)))};
}
inline Lanes load_unsigned_bytes(const std::byte* at) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))};
}
inline Lanes load_signed_bytes(const std::byte* at) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
}

}  // namespace
}  // namespace holdfast::cpu
