// Arithmetic on single values whose rounding is part of the numerics (profile.h).
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace holdfast::cuda {

__device__ __forceinline__ std::uint32_t pack_bf16(float first, float second) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
    return *reinterpret_cast<const std::uint32_t*>(&pair);
}

// The hardware's power of two: the same bits on every device of one architecture.
__device__ __forceinline__ float exp2_approx(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// The hardware's reciprocal, likewise.
__device__ __forceinline__ float reciprocal_approx(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

// x / (1 + e^-x). A division rounded to nearest would take ten instructions, and a prefill 13 %
// longer.
__device__ __forceinline__ float silu(float x) {
    const float power = exp2_approx(__fmul_rn(x, -1.44269504F));
    return __fmul_rn(x, reciprocal_approx(__fadd_rn(1.0F, power)));
}

// --- Weights of 8 and 4 bits: f16(f16(q - offset) * d), both operations rounded to nearest
// -----------

__device__ __forceinline__ std::uint32_t multiply_half2(std::uint32_t a, std::uint32_t b) {
    std::uint32_t d;
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
    return d;
}

__device__ __forceinline__ std::uint32_t subtract_half2(std::uint32_t a, std::uint32_t b) {
    std::uint32_t d;
    asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
    return d;
}

// One of the two halves of `pair`, twice.
__device__ __forceinline__ std::uint32_t spread_half(std::uint32_t pair, std::uint32_t which) {
    return __byte_perm(pair, 0, which == 0 ? 0x1010 : 0x3232);
}

// Eight integers as the A operand of a step: bytes of `first` are rows g, g, g + 8, g + 8 of the
// first eight inputs, bytes of `second` of the others; stored with 128 added. A byte under 0x64 is
// the float16 1,024 + byte.
__device__ __forceinline__ void unpack_8(std::uint32_t (&a)[4], std::uint32_t first,
                                         std::uint32_t second, std::uint32_t scale_low,
                                         std::uint32_t scale_high) {
    constexpr std::uint32_t magic = 0x64646464, offset = 0x64806480;  // 1,024 + 128
    a[0] = multiply_half2(subtract_half2(__byte_perm(first, magic, 0x4140), offset), scale_low);
    a[1] = multiply_half2(subtract_half2(__byte_perm(first, magic, 0x4342), offset), scale_high);
    a[2] = multiply_half2(subtract_half2(__byte_perm(second, magic, 0x4140), offset), scale_low);
    a[3] = multiply_half2(subtract_half2(__byte_perm(second, magic, 0x4342), offset), scale_high);
}

// The same for integers of 4 bits, stored with 8 added: bits 4 i and 4 i + 16 are a[i].
__device__ __forceinline__ void unpack_4(std::uint32_t (&a)[4], std::uint32_t q,
                                         std::uint32_t scale_low, std::uint32_t scale_high) {
    constexpr std::uint32_t mask = 0x000f000f, magic = 0x64006400, offset = 0x64086408;
#pragma unroll
    for (std::uint32_t i = 0; i < 4; ++i) {
        std::uint32_t bits;
        asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(bits) : "r"(q >> 4 * i), "r"(mask), "r"(magic));
        a[i] = multiply_half2(subtract_half2(bits, offset), i % 2 == 0 ? scale_low : scale_high);
    }
}

}  // namespace holdfast::cuda
