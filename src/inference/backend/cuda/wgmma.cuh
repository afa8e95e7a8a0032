// The tensor core as Hopper's warpgroups of 128 threads have it: 64 x 16 by 16 x N, asynchronous.
#pragma once

#include <cstdint>

#include "inference/backend/cuda/copy.cuh"

namespace holdfast::cuda {

// Describes an operand in shared memory: rows of 128 bytes (64 elements of K), swizzled as in
// layout.h, groups of 8 rows 1,024 bytes apart; begins at a multiple of 1,024 bytes. The step of 16
// elements `step` of such a row begins at 32 * step.
__device__ __forceinline__ std::uint64_t operand(std::uint32_t shared, std::uint32_t step = 0) {
    return static_cast<std::uint64_t>(((shared + 32 * step) & 0x3ffff) >> 4) |
           std::uint64_t{1} << 16 | std::uint64_t{1024 >> 4} << 32 | std::uint64_t{1} << 62;
}

// Before the first product, and where registers that it uses were written by other instructions.
__device__ __forceinline__ void wgmma_fence() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Until at most `pending` of the committed groups run.
template <int pending>
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

// Keeps the compiler from moving accumulators while products that it knows nothing of run.
template <int count>
__device__ __forceinline__ void keep(float (&d)[count]) {
#pragma unroll
    for (float& value : d) asm volatile("" : "+f"(value)::"memory");
}

// A kernel's registers are dealt out evenly at its start; these pass them from warpgroups that only
// copy to those that multiply. Each warpgroup calls one, once.
template <int count>
__device__ __forceinline__ void keep_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}

template <int count>
__device__ __forceinline__ void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

// d += A B, d as of mma.cuh for each 8 columns, rows of a warp: 16 * (warp of the group). `ss`
// takes both operands from shared memory, `rs` takes A from registers, laid out as in mma.cuh.
template <int columns>
struct Wgmma;

#define HF_Q0 "%0,%1,%2,%3"
#define HF_Q1 "%4,%5,%6,%7"
#define HF_Q2 "%8,%9,%10,%11"
#define HF_Q3 "%12,%13,%14,%15"
#define HF_Q4 "%16,%17,%18,%19"
#define HF_Q5 "%20,%21,%22,%23"
#define HF_Q6 "%24,%25,%26,%27"
#define HF_Q7 "%28,%29,%30,%31"
#define HF_Q8 "%32,%33,%34,%35"
#define HF_Q9 "%36,%37,%38,%39"
#define HF_Q10 "%40,%41,%42,%43"
#define HF_Q11 "%44,%45,%46,%47"
#define HF_Q12 "%48,%49,%50,%51"
#define HF_Q13 "%52,%53,%54,%55"
#define HF_Q14 "%56,%57,%58,%59"
#define HF_Q15 "%60,%61,%62,%63"
#define HF_Q16 "%64,%65,%66,%67"
#define HF_Q17 "%68,%69,%70,%71"
#define HF_Q18 "%72,%73,%74,%75"
#define HF_Q19 "%76,%77,%78,%79"
#define HF_Q20 "%80,%81,%82,%83"
#define HF_Q21 "%84,%85,%86,%87"
#define HF_Q22 "%88,%89,%90,%91"
#define HF_Q23 "%92,%93,%94,%95"
#define HF_Q24 "%96,%97,%98,%99"
#define HF_Q25 "%100,%101,%102,%103"
#define HF_Q26 "%104,%105,%106,%107"
#define HF_Q27 "%108,%109,%110,%111"
#define HF_Q28 "%112,%113,%114,%115"
#define HF_Q29 "%116,%117,%118,%119"
#define HF_Q30 "%120,%121,%122,%123"
#define HF_Q31 "%124,%125,%126,%127"
#define HF_C(i) "+f"(d[4 * (i)]), "+f"(d[4 * (i) + 1]), "+f"(d[4 * (i) + 2]), "+f"(d[4 * (i) + 3])
#define HF_D8 HF_Q0
#define HF_C8 HF_C(0)
#define HF_D16 HF_D8 "," HF_Q1
#define HF_C16 HF_C8, HF_C(1)
#define HF_D32 HF_D16 "," HF_Q2 "," HF_Q3
#define HF_C32 HF_C16, HF_C(2), HF_C(3)
#define HF_D64 HF_D32 "," HF_Q4 "," HF_Q5 "," HF_Q6 "," HF_Q7
#define HF_C64 HF_C32, HF_C(4), HF_C(5), HF_C(6), HF_C(7)
#define HF_D96 HF_D64 "," HF_Q8 "," HF_Q9 "," HF_Q10 "," HF_Q11
#define HF_C96 HF_C64, HF_C(8), HF_C(9), HF_C(10), HF_C(11)
#define HF_D128 HF_D96 "," HF_Q12 "," HF_Q13 "," HF_Q14 "," HF_Q15
#define HF_C128 HF_C96, HF_C(12), HF_C(13), HF_C(14), HF_C(15)
#define HF_D192 \
    HF_D128 "," HF_Q16 "," HF_Q17 "," HF_Q18 "," HF_Q19 "," HF_Q20 "," HF_Q21 "," HF_Q22 "," HF_Q23
#define HF_C192 \
    HF_C128, HF_C(16), HF_C(17), HF_C(18), HF_C(19), HF_C(20), HF_C(21), HF_C(22), HF_C(23)
#define HF_D256 \
    HF_D192 "," HF_Q24 "," HF_Q25 "," HF_Q26 "," HF_Q27 "," HF_Q28 "," HF_Q29 "," HF_Q30 "," HF_Q31
#define HF_C256 \
    HF_C192, HF_C(24), HF_C(25), HF_C(26), HF_C(27), HF_C(28), HF_C(29), HF_C(30), HF_C(31)

#define HF_WGMMA_SS(TYPE, N, A, B)                                                      \
    __device__ __forceinline__ static void ss_##TYPE(float(&d)[N / 2], std::uint64_t a, \
                                                     std::uint64_t b) {                 \
        asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." #TYPE "." #TYPE  \
                     " {" HF_D##N "}, " A ", " B ", 1, 1, 1, 0, 0;"                     \
                     : HF_C##N                                                          \
                     : "l"(a), "l"(b));                                                 \
    }
#define HF_WGMMA_RS(TYPE, N, A0, A1, A2, A3, B)                                                    \
    __device__ __forceinline__ static void rs_##TYPE(float(&d)[N / 2], const std::uint32_t(&a)[4], \
                                                     std::uint64_t b) {                            \
        asm volatile("wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." #TYPE "." #TYPE             \
                     " {" HF_D##N "}, {" A0 "," A1 "," A2 "," A3 "}, " B ", 1, 1, 1, 0;"           \
                     : HF_C##N                                                                     \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                        \
    }
#define HF_WGMMA(N, O0, O1, O2, O3, O4)          \
    template <>                                  \
    struct Wgmma<N> {                            \
        HF_WGMMA_SS(bf16, N, O0, O1)             \
        HF_WGMMA_SS(f16, N, O0, O1)              \
        HF_WGMMA_RS(bf16, N, O0, O1, O2, O3, O4) \
        HF_WGMMA_RS(f16, N, O0, O1, O2, O3, O4)  \
    };

// The operands behind N / 2 accumulators.
HF_WGMMA(8, "%4", "%5", "%6", "%7", "%8")
HF_WGMMA(16, "%8", "%9", "%10", "%11", "%12")
HF_WGMMA(32, "%16", "%17", "%18", "%19", "%20")
HF_WGMMA(64, "%32", "%33", "%34", "%35", "%36")
HF_WGMMA(96, "%48", "%49", "%50", "%51", "%52")
HF_WGMMA(128, "%64", "%65", "%66", "%67", "%68")
HF_WGMMA(192, "%96", "%97", "%98", "%99", "%100")
HF_WGMMA(256, "%128", "%129", "%130", "%131", "%132")

#undef HF_Q0
#undef HF_Q1
#undef HF_Q2
#undef HF_Q3
#undef HF_Q4
#undef HF_Q5
#undef HF_Q6
#undef HF_Q7
#undef HF_Q8
#undef HF_Q9
#undef HF_Q10
#undef HF_Q11
#undef HF_Q12
#undef HF_Q13
#undef HF_Q14
#undef HF_Q15
#undef HF_Q16
#undef HF_Q17
#undef HF_Q18
#undef HF_Q19
#undef HF_Q20
#undef HF_Q21
#undef HF_Q22
#undef HF_Q23
#undef HF_Q24
#undef HF_Q25
#undef HF_Q26
#undef HF_Q27
#undef HF_Q28
#undef HF_Q29
#undef HF_Q30
#undef HF_Q31
#undef HF_C
#undef HF_D8
#undef HF_C8
#undef HF_D16
#undef HF_C16
#undef HF_D32
#undef HF_C32
#undef HF_D64
#undef HF_C64
#undef HF_D96
#undef HF_C96
#undef HF_D128
#undef HF_C128
#undef HF_D192
#undef HF_C192
#undef HF_D256
#undef HF_C256
#undef HF_WGMMA
#undef HF_WGMMA_SS
#undef HF_WGMMA_RS

}  // namespace holdfast::cuda
