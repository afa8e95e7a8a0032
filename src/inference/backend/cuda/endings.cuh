// What a decoder step does to the sums of its products, whichever kernel made them.
#pragma once

#include <cuda_runtime.h>

#include "inference/backend/cuda/copy.cuh"
#include "inference/backend/cuda/exact.cuh"
#include "inference/backend/cuda/kernels.h"

namespace holdfast::cuda {

inline constexpr std::uint32_t sum_threads = 128;  // four warps of 16 rows each

// The sums that a thread holds of a tile of 64 rows: for each eight columns rows g and g + 8 of its
// warp's 16, where g is a quarter of its lane, and two neighbouring columns.
template <int width>
struct Sums {
    float d[width / 8][4];
    std::uint32_t tile = 0, first_column = 0;

    __device__ std::uint32_t row(int i) const {
        return tile * tile_rows + threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + i / 2 * 8;
    }
    __device__ static std::uint32_t column_in_tile(int group, int i) {
        return group * 8 + threadIdx.x % 4 * 2 + i % 2;
    }
    __device__ std::uint32_t column(int group, int i) const {
        return first_column + column_in_tile(group, i);
    }
    __device__ void clear() {
#pragma unroll
        for (auto& group : d)
#pragma unroll
            for (float& sum : group) sum = 0;
    }
};

// r of a column, from the squares of its token.
__device__ __forceinline__ float factor_of(const Product& p, const Scale& scale,
                                           std::uint32_t column) {
    const std::uint32_t token = p.columns != nullptr ? p.columns[column] : column;
    float sum = 0;
#pragma unroll 8
    for (std::uint32_t tile = 0; tile < padded(scale.hidden, 64) / 64; ++tile)
        sum = __fadd_rn(sum, scale.squares[std::size_t{tile} * p.capacity + token]);
    const float mean = __fdiv_rn(sum, static_cast<float>(scale.hidden));
    return __frcp_rn(__fsqrt_rn(__fadd_rn(mean, scale.epsilon)));
}

__device__ __forceinline__ std::uint16_t bf16_bits(float value) {
    return static_cast<std::uint16_t>(pack_bf16(value, 0) & 0xffff);
}

__device__ __forceinline__ void store_activation(void* x, std::uint32_t capacity,
                                                 std::uint32_t token, std::uint32_t k,
                                                 float value) {
    *reinterpret_cast<std::uint16_t*>(static_cast<std::uint8_t*>(x) +
                                      activation_at(capacity, token, k)) = bf16_bits(value);
}

// Each ending has `begin`, which may run before the kernels before this one have ended and reads
// only what no kernel of a step writes; `middle`, which reads what they wrote and needs no sums;
// and the call with the sums.

// Where a token's queries, keys and values go, and how they turn.
struct Turn {
    Row at;
    std::uint32_t block;
    float cosine, sine;
};

template <int width>
struct QkvEnd {
    const Qkv& q;
    const float* factors;  // of each column, in shared memory
    static constexpr bool early = width == 8;
    Turn turns[2] = {};
    float low_bias = 0, high_bias = 0;

    __device__ std::uint32_t half() const { return q.cache_shape.head_dim / 2; }

    __device__ Turn turn_of(std::uint32_t low, std::uint32_t token) const {
        Turn turn;
        turn.at = q.rows.rows[token];
        turn.block = q.rows.tables[turn.at.table + turn.at.position / 16];
        const float* of_position = q.rotary + std::size_t{turn.at.position} * 2 * half();
        turn.cosine = of_position[low % (2 * half())];
        turn.sine = of_position[half() + low % (2 * half())];
        return turn;
    }

    __device__ void begin(const Sums<width>& sums) {
        if (sums.row(0) >= q.product.shape.rows) return;
        const std::uint32_t low = paired_row(sums.row(0), half());
        if (q.bias != nullptr) {
            low_bias = q.bias[low];
            high_bias = q.bias[low + half()];
        }
        if constexpr (early)
            for (int i = 0; i < 2; ++i)
                if (sums.column(0, i) < q.product.count) turns[i] = turn_of(low, sums.column(0, i));
    }
    __device__ void middle(const Sums<width>&) {}

    // Two values of one token and head, `half` dimensions apart, of which the lower is row `row` of
    // the model's order.
    __device__ void pair(const Turn& turn, std::uint32_t row, std::uint32_t token, float low,
                         float high) const {
        const std::uint32_t dim = 2 * half(), head = row / dim, d = row % dim;
        const bool value = head >= q.heads + q.cache_shape.kv_heads;
        if (!value) {
            const float old = low;
            low = __fsub_rn(__fmul_rn(low, turn.cosine), __fmul_rn(high, turn.sine));
            high = __fadd_rn(__fmul_rn(high, turn.cosine), __fmul_rn(old, turn.sine));
        }
        if (head < q.heads) {
            std::uint16_t* to = q.queries + (std::size_t{token} * q.heads + head) * dim + d;
            to[0] = bf16_bits(low);
            to[half()] = bf16_bits(high);
            return;
        }
        const std::uint32_t kv_head = (head - q.heads) % q.cache_shape.kv_heads;
        const auto put = [&](std::uint32_t dimension, float v) {
            *reinterpret_cast<std::uint16_t*>(q.cache + cached_at(q.cache_shape, turn.block,
                                                                  turn.at.position % 16, kv_head,
                                                                  value, dimension)) = bf16_bits(v);
        };
        put(d, low);
        put(d + half(), high);
    }

    __device__ void operator()(const Sums<width>& sums) const {
        if (sums.row(0) >= q.product.shape.rows) return;
        const std::uint32_t low = paired_row(sums.row(0), half());
#pragma unroll
        for (int group = 0; group < width / 8; ++group)
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const std::uint32_t token = sums.column(group, i);
                if (token >= q.product.count) continue;
                const float r = factors[Sums<width>::column_in_tile(group, i)];
                pair(early ? turns[i] : turn_of(low, token), low, token,
                     __fmaf_rn(sums.d[group][i], r, low_bias),
                     __fmaf_rn(sums.d[group][i + 2], r, high_bias));
            }
    }
};

template <int width>
struct ResidualEnd {
    const AddResidual& a;
    float* squares;  // [warp][column], shared memory
    float norm[2] = {};
    static constexpr bool early = width == 8;
    float h[4] = {};  // where a thread has so few that it can hold them

    __device__ bool there(const Sums<width>& sums, int group, int i) const {
        return sums.column(group, i) < a.product.count && sums.row(i) < a.residual.hidden;
    }
    __device__ float& stream(const Sums<width>& sums, int group, int i) const {
        return a.residual.h[std::size_t{sums.column(group, i)} * a.residual.hidden + sums.row(i)];
    }

    __device__ void begin(const Sums<width>& sums) {
        for (int upper = 0; upper < 2; ++upper)
            if (sums.row(upper * 2) < a.residual.hidden)
                norm[upper] = a.residual.norm[sums.row(upper * 2)];
    }
    __device__ void middle(const Sums<width>& sums) {
        if constexpr (early)
            for (int i = 0; i < 4; ++i)
                if (there(sums, 0, i)) h[i] = stream(sums, 0, i);
    }

    __device__ void operator()(const Sums<width>& sums) {
        const std::uint32_t warp = threadIdx.x / 32;
#pragma unroll
        for (int group = 0; group < width / 8; ++group)
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                float sum = 0;
#pragma unroll
                for (int at = i; at < 4; at += 2) {
                    if (!there(sums, group, at)) continue;
                    float& place = stream(sums, group, at);
                    const float now = __fadd_rn(early ? h[at] : place, sums.d[group][at]);
                    place = now;
                    store_activation(a.residual.x, a.product.capacity, sums.column(group, at),
                                     sums.row(at), __fmul_rn(now, norm[at / 2]));
                    sum = __fadd_rn(sum, __fmul_rn(now, now));
                }
#pragma unroll
                for (int lanes = 4; lanes < 32; lanes *= 2)
                    sum = __fadd_rn(sum, __shfl_xor_sync(~0u, sum, lanes));
                if (threadIdx.x % 32 < 4)
                    squares[warp * width + Sums<width>::column_in_tile(group, i)] = sum;
            }
        named_barrier(1, sum_threads);
        const std::uint32_t column = threadIdx.x, token = sums.first_column + column;
        if (column >= width || token >= a.product.count) return;
        a.residual.squares[std::size_t{sums.tile} * a.product.capacity + token] =
            __fadd_rn(__fadd_rn(squares[column], squares[width + column]),
                      __fadd_rn(squares[2 * width + column], squares[3 * width + column]));
    }
};

template <int width>
struct SwiGluEnd {
    const SwiGlu& g;
    const float* factors;

    __device__ void begin(const Sums<width>&) {}
    __device__ void middle(const Sums<width>&) {}

    __device__ void operator()(const Sums<width>& sums) const {
        const std::uint32_t row = sums.row(0);
        if (row >= g.product.shape.rows) return;
#pragma unroll
        for (int group = 0; group < width / 8; ++group)
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const std::uint32_t token = sums.column(group, i);
                if (token >= g.product.count) continue;
                const float r = factors[Sums<width>::column_in_tile(group, i)];
                const float gate = __fmul_rn(r, sums.d[group][i]);
                const float up = __fmul_rn(r, sums.d[group][i + 2]);
                store_activation(g.out, g.product.capacity, token, row / 16 * 8 + row % 8,
                                 __fmul_rn(silu(gate), up));
            }
    }
};

template <int width>
struct LogitsEnd {
    const Logits& l;
    const float* factors;

    __device__ void begin(const Sums<width>&) {}
    __device__ void middle(const Sums<width>&) {}

    __device__ void operator()(const Sums<width>& sums) const {
#pragma unroll
        for (int group = 0; group < width / 8; ++group)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const std::uint32_t row = sums.row(i), column = sums.column(group, i);
                if (row < l.product.shape.rows && column < l.product.count)
                    l.out[std::size_t{column} * l.product.shape.rows + row] =
                        __fmul_rn(factors[Sums<width>::column_in_tile(group, i)], sums.d[group][i]);
            }
    }
};

}  // namespace holdfast::cuda
