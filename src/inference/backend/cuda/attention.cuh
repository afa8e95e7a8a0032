// Attention of one token and key-value head by mma.sync, for a block of four warps: the query heads
// that share keys and values are the eight columns of every product; keys come in chunks of 128.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include "inference/backend/cuda/exact.cuh"
#include "inference/backend/cuda/kernels.h"
#include "inference/backend/cuda/mma.cuh"

namespace holdfast::cuda {

inline constexpr std::uint32_t attention_threads = 128, attention_columns = 8;
inline constexpr std::uint32_t panel_bytes = key_chunk * 128;

// Of one chunk of keys, or of several: weighted values for up to two tiles of 16 dimensions, the
// sum of the weights and the largest score, for a thread's two columns.
struct Attended {
    float out[2][4] = {}, sum[2] = {}, largest[2] = {-INFINITY, -INFINITY};

    // Adds what comes next in the order of positions.
    __device__ void merge(const Attended& next) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const float most = fmaxf(largest[i], next.largest[i]);
            const float before = exp2_approx(__fsub_rn(largest[i], most));
            const float now = exp2_approx(__fsub_rn(next.largest[i], most));
            largest[i] = most;
            sum[i] = __fmaf_rn(next.sum[i], now, __fmul_rn(sum[i], before));
#pragma unroll
            for (int m = 0; m < 2; ++m)
#pragma unroll
                for (int at = i; at < 4; at += 2)
                    out[m][at] = __fmaf_rn(next.out[m][at], now, __fmul_rn(out[m][at], before));
        }
    }
};

class AttentionWorker {
public:
    __device__ AttentionWorker(const Attention& a, std::uint32_t token, std::uint32_t kv_head,
                               std::uint8_t* shared)
        : a_(a),
          token_(token),
          row_(a.rows.rows[token]),
          kv_head_(kv_head),
          panels_(a.cache_shape.panels()),
          group_(a.heads / a.cache_shape.kv_heads),
          keys_(shared),
          values_(keys_ + panels_ * panel_bytes),
          queries_(values_ + panels_ * panel_bytes),
          weights_(queries_ + panels_ * attention_columns * 128),
          maxima_(reinterpret_cast<float*>(weights_ + 2 * attention_columns * 128)) {}

    __device__ const Row& row() const { return row_; }
    __device__ std::uint8_t* keys() const { return keys_; }
    __device__ std::uint8_t* values() const { return values_; }

    // What the 128 keys from `first` on, which stand in shared memory with the queries, give.
    // Begins with a barrier of the block, and ends with one if the chunk is to be overwritten.
    __device__ Attended attend(std::uint32_t first) {
        __syncthreads();
        float scores[2][4];
        Attended chunk;
        multiply_keys(first, scores);
        weigh(scores, chunk);
        multiply_values(chunk);
        return chunk;
    }

    __device__ static std::uint32_t address_of(const void* shared) {
        return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
    }

    // Query heads as rows of 64 dimensions; rows and dimensions that there are not are zeros.
    __device__ void load_queries() {
        const std::uint32_t dim = a_.cache_shape.head_dim;
        for (std::uint32_t i = threadIdx.x; i < panels_ * attention_columns * 8;
             i += attention_threads) {
            const std::uint32_t panel = i / (attention_columns * 8),
                                head = i / 8 % attention_columns;
            const std::uint32_t d = panel * 64 + i % 8 * 8;
            uint4 bits = {};
            if (head < group_ && d < dim)
                bits = *reinterpret_cast<const uint4*>(
                    a_.queries + (std::size_t{token_} * a_.heads + kv_head_ * group_ + head) * dim +
                    d);
            *reinterpret_cast<uint4*>(queries_ + panel * attention_columns * 128 +
                                      swizzled(head, i % 8 * 8)) = bits;
        }
    }

    // The 128 keys and values from `first` on as the cache has them; zeros for positions that are
    // not this token's to see.
    __device__ void load_chunk(std::uint32_t first) {
        const std::uint32_t keys = min(key_chunk, row_.position - first + 1);
        for (std::uint32_t i = threadIdx.x; i < keys * panels_ * 16; i += attention_threads)
            load_piece(first, i / (panels_ * 16), i % (panels_ * 16));
        clear_values(keys);
    }

    // One key and value.
    __device__ void load_key(std::uint32_t first, std::uint32_t key) {
        for (std::uint32_t i = threadIdx.x; i < panels_ * 16; i += attention_threads)
            load_piece(first, key, i);
    }

    // Values from `key` on are zeros, so that whatever stood there adds nothing, not even if it is
    // no number. Their scores are masked.
    __device__ void clear_values(std::uint32_t key) {
        for (std::uint32_t panel = 0; panel < panels_; ++panel)
            for (std::uint32_t i = key * 8 + threadIdx.x; i < key_chunk * 8; i += attention_threads)
                *reinterpret_cast<uint4*>(values_ + panel * panel_bytes + i * 16) = uint4{};
    }

    __device__ void store(const Attended& all) const {
        const std::uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        const std::uint32_t dim = a_.cache_shape.head_dim;
#pragma unroll
        for (std::uint32_t m = 0; m < 2; ++m)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const std::uint32_t head = lane % 4 * 2 + i % 2;
                const std::uint32_t d = (warp + m * 4) * 16 + lane / 4 + i / 2 * 8;
                if (head >= group_ || d >= dim) continue;
                const std::uint32_t k = (kv_head_ * group_ + head) * dim + d;
                *reinterpret_cast<std::uint16_t*>(static_cast<std::uint8_t*>(a_.out) +
                                                  activation_at(a_.rows.capacity, token_, k)) =
                    static_cast<std::uint16_t>(
                        pack_bf16(__fdiv_rn(all.out[m][i], all.sum[i % 2]), 0));
            }
    }

private:
    // 16 bytes of a key or a value, where the cache and shared memory have them in the same order.
    __device__ void load_piece(std::uint32_t first, std::uint32_t key, std::uint32_t piece) {
        const bool value = piece >= panels_ * 8;
        const std::uint32_t panel = piece / 8 % panels_, slot = key % 16;
        const std::uint32_t block = a_.rows.tables[row_.table + (first + key) / 16];
        const std::uint8_t* from =
            a_.cache + cached_at(a_.cache_shape, block, 0, kv_head_, value, panel * 64);
        *reinterpret_cast<uint4*>((value ? values_ : keys_) + panel * panel_bytes + key * 128 +
                                  piece % 8 * 16) =
            *reinterpret_cast<const uint4*>(from + slot * 128 + piece % 8 * 16);
    }

    // scores[m][i]: of key 32 * warp + 16 * m + g (+ 8 for i >= 2) and column 2 t + i % 2.
    __device__ void multiply_keys(std::uint32_t first, float (&scores)[2][4]) {
        const std::uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
        for (std::uint32_t m = 0; m < 2; ++m) {
#pragma unroll
            for (float& score : scores[m]) score = 0;
            for (std::uint32_t step = 0; step < panels_ * 4; ++step) {
                const std::uint32_t panel = step / 4, k = step % 4 * 16;
                std::uint32_t a[4], b[4];
                load_matrices(a, address_of(keys_) + panel * panel_bytes +
                                     swizzled(warp * 32 + m * 16 + lane % 16, k + lane / 16 * 8));
                load_matrices(b, address_of(queries_) + panel * attention_columns * 128 +
                                     swizzled(lane % 8, k + lane / 8 % 2 * 8));
                mma_bf16(scores[m], a, {b[0], b[1]});
            }
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const std::uint32_t key = first + warp * 32 + m * 16 + lane / 4 + i / 2 * 8;
                scores[m][i] = key <= row_.position ? __fmul_rn(scores[m][i], a_.scale) : -INFINITY;
            }
        }
    }

    // Weights of this chunk as an operand, and the chunk's maxima.
    __device__ void weigh(const float (&scores)[2][4], Attended& chunk) {
        const std::uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            float largest =
                fmaxf(fmaxf(scores[0][i], scores[0][i + 2]), fmaxf(scores[1][i], scores[1][i + 2]));
#pragma unroll
            for (int lanes = 4; lanes < 32; lanes *= 2)
                largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, lanes));
            if (lane < 4) maxima_[warp * attention_columns + lane * 2 + i] = largest;
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const std::uint32_t column = lane % 4 * 2 + i;
            chunk.largest[i] = fmaxf(fmaxf(maxima_[column], maxima_[attention_columns + column]),
                                     fmaxf(maxima_[2 * attention_columns + column],
                                           maxima_[3 * attention_columns + column]));
        }
#pragma unroll
        for (std::uint32_t m = 0; m < 2; ++m)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const std::uint32_t key = warp * 32 + m * 16 + lane / 4 + i / 2 * 8;
                const float weight = exp2_approx(__fsub_rn(scores[m][i], chunk.largest[i % 2]));
                *reinterpret_cast<std::uint16_t*>(weights_ + key / 64 * attention_columns * 128 +
                                                  swizzled(lane % 4 * 2 + i % 2, key % 64)) =
                    static_cast<std::uint16_t>(pack_bf16(weight, 0));
            }
        __syncthreads();
    }

    // Dimensions as rows: warp w has tiles w and w + 4 of 16, as far as there are so many.
    __device__ void multiply_values(Attended& chunk) {
        const std::uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        float ones[4] = {};
#pragma unroll
        for (std::uint32_t step = 0; step < key_chunk / step_k; ++step) {
            std::uint32_t b[4];
            load_matrices(b, address_of(weights_) + step / 4 * attention_columns * 128 +
                                 swizzled(lane % 8, step % 4 * 16 + lane / 8 % 2 * 8));
            mma_bf16(ones, {0x3f803f80, 0x3f803f80, 0x3f803f80, 0x3f803f80}, {b[0], b[1]});
#pragma unroll
            for (std::uint32_t m = 0; m < 2; ++m) {
                const std::uint32_t d = (warp + m * 4) * 16 + lane / 8 % 2 * 8;
                if ((warp + m * 4) * 16 >= panels_ * 64) continue;
                std::uint32_t a[4];
                load_transposed(a, address_of(values_) + d / 64 * panel_bytes +
                                       swizzled(step * 16 + lane / 16 * 8 + lane % 8, d % 64));
                mma_bf16(chunk.out[m], a, {b[0], b[1]});
            }
        }
        chunk.sum[0] = ones[0];
        chunk.sum[1] = ones[1];
    }

    const Attention& a_;
    std::uint32_t token_;
    Row row_;
    std::uint32_t kv_head_, panels_, group_;
    std::uint8_t *keys_, *values_, *queries_, *weights_;
    float* maxima_;  // [warp][column]
};

constexpr std::uint32_t attention_shared_bytes(const CacheShape& shape) {
    return 2 * shape.panels() * panel_bytes + shape.panels() * attention_columns * 128 +
           2 * attention_columns * 128 + 4 * attention_columns * sizeof(float);
}

}  // namespace holdfast::cuda
