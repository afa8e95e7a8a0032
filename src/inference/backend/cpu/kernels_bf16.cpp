#include "inference/backend/cpu/vectors_avx512.h"

// After what it is made of.
#include "inference/backend/cpu/kernels_body.h"

namespace holdfast::cpu {
namespace {

// As pack_rows, but a packed number is two neighbouring inputs, rounded to bf16.
void pack_pairs(const float* x, std::size_t stride, std::uint32_t inputs, const Tiling& tiling,
                std::uint32_t tile, float* packed) {
    const std::uint32_t begin = tiling.begin(tile), rows = tiling.begin(tile + 1) - begin;
    float* const to = packed + std::size_t{begin} * (inputs / 2);
    for (std::uint32_t row = 0; row < rows; ++row) {
        const float* const from = x + (begin + row) * stride;
        for (std::uint32_t k = 0; k < inputs; k += 16) {
            const std::uint32_t count = inputs - k < 16 ? inputs - k : 16;
            const auto mask = static_cast<__mmask16>((1U << count) - 1);
            float pairs[8];
            const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from + k));
            __builtin_memcpy(pairs, &rounded, sizeof pairs);
            for (std::uint32_t i = 0; i < count / 2; ++i)
                to[std::size_t{k / 2 + i} * rows + row] = pairs[i];
        }
    }
}

constexpr Kernels make_native_kernels() {
    Kernels table = make_kernels(Isa::vnni);
    table.pack_rows = pack_pairs;
    return table;
}

}  // namespace

constinit const Kernels bf16_kernels = make_native_kernels();

}  // namespace holdfast::cpu
