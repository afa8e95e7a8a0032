// The numerics of the CUDA backend, for host and device compiler alike: which sums exist and in
// which order they are added. Kernels may differ in everything else; two kernels that follow this
// give the same bits, so a step may run on any of them.
//
// h        float32 residual stream; embedding rows widened
// x        bf16(h * g), g the norm's weight, not yet divided by the root mean square
// r        1 / sqrt(ss / hidden + eps), every operation rounded to nearest; ss = sums of h * h over
//          each tile of 64 values, added by ascending tile. In a tile, with i = 16 w + 8 u + g:
//          over u, then over the bits of g, then over the bits of w, lowest bits first, neighbours
//          first
// y        a chain over ascending K of the tensor core's steps of 16, from +0, in each segment; the
//          segments of a role that has several added to +0 in ascending order in float32; times r
//          after that
// qkv      fma(y, r, bias), rotated, rounded to bf16
// attention, for the chunk j of 128 keys that begins at position 128 * j:
//          s = (k q) * scale, m_j = max s, p = bf16(exp2(s - m_j)), O_j = p V and l_j = p 1 as
//          chains over the keys, then merged by ascending j:
//          M' = max(M, m_j), O = fma(O_j, exp2(m_j - M'), O * exp2(M - M')), l likewise;
//          out = bf16(O / l)
// swiglu   bf16(silu(r a) * (r b));  residual: h + y;  logits: r * y, float32
//
// A chain is a function of its row, its column and nothing else: the tensor core gives an element
// the same bits wherever it stands in a product of any size (tensor_core_test.cpp), and a product
// of zeros leaves an accumulator as it was, so that every size may be padded with zeros.
#pragma once

#include <cstdint>

namespace holdfast::cuda {

inline constexpr std::uint32_t tile_rows = 64;  // outputs of a tile of weights
inline constexpr std::uint32_t block_k = 64;    // inputs of a block of weights
inline constexpr std::uint32_t step_k = 16;     // inputs of one step of the tensor core
inline constexpr std::uint32_t key_chunk = 128;

// What a matrix is for. Decides the order of its rows and the number of its segments.
enum class Role : std::uint8_t { qkv, attention_output, gate_up, down, head };

// Matrices with few rows are cut along K, so that there is work for every multiprocessor.
constexpr std::uint32_t segments(Role role) {
    return role == Role::gate_up || role == Role::head ? 1 : 4;
}

// The first block of 64 inputs of a segment, of `blocks` in all. Where `blocks` is no multiple of
// the number of segments, some have one more; a segment without blocks adds +0.
constexpr std::uint32_t segment_begin(std::uint32_t segment, std::uint32_t of,
                                      std::uint32_t blocks) {
    return segment * blocks / of;
}

constexpr std::uint32_t padded(std::uint32_t size, std::uint32_t unit) {
    return (size + unit - 1) / unit * unit;
}

}  // namespace holdfast::cuda
