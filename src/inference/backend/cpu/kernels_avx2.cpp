#include <immintrin.h>

#include "inference/backend/cpu/kernels.h"

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
        const float* const at = weights + k * std::size_t{32} + pair * std::size_t{8};
        low = Lanes::load(at);
        high = Lanes::load(at + 16);
    }
};

struct Ints {
    static constexpr std::ptrdiff_t width = 8;
    static constexpr int block_vectors = 1, block_rows = 4;
    static constexpr std::int32_t byte_offset = 0;  // see dot()
    __m256i v;

    static Ints all(std::int32_t x) { return {_mm256_set1_epi32(x)}; }
    static Ints all_bytes(std::uint8_t x) { return {_mm256_set1_epi8(static_cast<char>(x))}; }
    static Ints load(const std::byte* p) {
        return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
    }
    Lanes to_float() const { return {_mm256_cvtepi32_ps(v)}; }
    // sums + the products of four weights with four signed numbers in [-127, 127]. The sum of two
    // products is a signed 16-bit number and saturates beyond it. It stays within as long as
    // weights are below 128. `Bytes` are any weights: they lose their offset of 128 here and give
    // their sign to the other factor, so that no magnitude exceeds 128 and no sum 2 * 128 * 127.
    template <bool Bytes>
    static Ints dot(Ints sums, Ints weights, Ints x) {
        if constexpr (Bytes) {
            const __m256i values = _mm256_xor_si256(weights.v, _mm256_set1_epi8(-128));
            weights.v = _mm256_abs_epi8(values);
            x.v = _mm256_sign_epi8(x.v, values);
        }
        const __m256i pairs = _mm256_maddubs_epi16(weights.v, x.v);
        return {_mm256_add_epi32(sums.v, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))};
    }
    friend Ints operator&(Ints a, Ints b) { return {_mm256_and_si256(a.v, b.v)}; }
    friend Ints operator|(Ints a, Ints b) { return {_mm256_or_si256(a.v, b.v)}; }
    friend Ints operator<<(Ints a, int bits) { return {_mm256_slli_epi16(a.v, bits)}; }
    friend Ints operator>>(Ints a, int bits) { return {_mm256_srli_epi16(a.v, bits)}; }
};

Lanes load_float16(const std::byte* at) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at)))};
}
Lanes load_unsigned_bytes(const std::byte* at) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
    return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))};
}
Lanes load_signed_bytes(const std::byte* at) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))};
}

}  // namespace
}  // namespace holdfast::cpu

#include "inference/backend/cpu/kernels_body.h"

namespace holdfast::cpu {
constinit const Kernels avx2_kernels = make_kernels(Isa::avx2);
}  // namespace holdfast::cpu
