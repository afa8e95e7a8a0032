// Attention by mma.sync: the plain implementation. A block of four warps for each token and
// key-value head; the query heads that share it are the eight columns of every product, its keys
// come in chunks of 128 whose results are merged in order.
#include <cuda_runtime.h>

#include <cmath>

#include "inference/backend/cuda/exact.cuh"
#include "inference/backend/cuda/kernels.h"
#include "inference/backend/cuda/mma.cuh"

namespace holdfast::cuda {
namespace {

constexpr std::uint32_t threads = 128, columns = 8, panel_bytes = key_chunk * 128;

// Results of up to two tiles of 16 dimensions, and of the softmax, for a thread's two columns.
struct Running {
    float out[2][4] = {}, sum[2] = {}, largest[2] = {-INFINITY, -INFINITY};
};

class Worker {
public:
    __device__ Worker(const Attention& a, std::uint8_t* shared)
        : a_(a),
          row_(a.rows.rows[blockIdx.x]),
          kv_head_(blockIdx.y),
          panels_(a.cache_shape.panels()),
          group_(a.heads / a.cache_shape.kv_heads),
          keys_(shared),
          values_(keys_ + panels_ * panel_bytes),
          queries_(values_ + panels_ * panel_bytes),
          weights_(queries_ + panels_ * columns * 128),
          maxima_(reinterpret_cast<float*>(weights_ + 2 * columns * 128)) {}

    __device__ void run() {
        load_queries();
        for (std::uint32_t first = 0; first <= row_.position; first += key_chunk) {
            load_chunk(first);
            __syncthreads();
            float scores[2][4];
            multiply_keys(first, scores);
            weigh(scores);
            multiply_values();
            __syncthreads();  // all have read what the next chunk overwrites
        }
        store();
    }

private:
    __device__ static std::uint32_t address_of(const void* shared) {
        return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
    }

    // Query heads as rows of 64 dimensions; rows and dimensions that there are not are zeros.
    __device__ void load_queries() {
        const std::uint32_t dim = a_.cache_shape.head_dim;
        for (std::uint32_t i = threadIdx.x; i < panels_ * columns * block_k; i += threads) {
            const std::uint32_t head = i / block_k % columns,
                                d = i / block_k / columns * block_k + i % block_k;
            const bool there = head < group_ && d < dim;
            *reinterpret_cast<std::uint16_t*>(queries_ + i / block_k / columns * columns * 128 +
                                              swizzled(head, i % block_k)) =
                there ? a_.queries[(std::size_t{blockIdx.x} * a_.heads + kv_head_ * group_ + head) *
                                       dim +
                                   d]
                      : 0;
        }
    }

    // Keys and values as the cache has them; zeros for positions that are not this token's to see.
    __device__ void load_chunk(std::uint32_t first) {
        const std::uint32_t pieces = panels_ * key_chunk * 8;
        for (std::uint32_t i = threadIdx.x; i < 2 * pieces; i += threads) {
            const bool value = i >= pieces;
            const std::uint32_t piece = i % 8, key = i / 8 % key_chunk,
                                panel = i % pieces / 8 / key_chunk;
            uint4 bits = {};
            if (first + key <= row_.position) {
                const std::uint32_t block = a_.rows.tables[row_.table + (first + key) / 16];
                bits = *reinterpret_cast<const uint4*>(
                    a_.cache +
                    cached_at(a_.cache_shape, block, key % 16, kv_head_, value, panel * 64) -
                    swizzled(key % 16, 0) + key % 16 * 128 + piece * 16);
            }
            *reinterpret_cast<uint4*>((value ? values_ : keys_) + panel * panel_bytes + key * 128 +
                                      piece * 16) = bits;
        }
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
                load_matrices(b, address_of(queries_) + panel * columns * 128 +
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
    __device__ void weigh(const float (&scores)[2][4]) {
        const std::uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            float largest =
                fmaxf(fmaxf(scores[0][i], scores[0][i + 2]), fmaxf(scores[1][i], scores[1][i + 2]));
#pragma unroll
            for (int lanes = 4; lanes < 32; lanes *= 2)
                largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, lanes));
            if (lane < 4) maxima_[warp * columns + lane * 2 + i] = largest;
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const std::uint32_t column = lane % 4 * 2 + i;
            chunk_largest_[i] =
                fmaxf(fmaxf(maxima_[column], maxima_[columns + column]),
                      fmaxf(maxima_[2 * columns + column], maxima_[3 * columns + column]));
        }
#pragma unroll
        for (std::uint32_t m = 0; m < 2; ++m)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const std::uint32_t key = warp * 32 + m * 16 + lane / 4 + i / 2 * 8;
                const float weight = exp2_approx(__fsub_rn(scores[m][i], chunk_largest_[i % 2]));
                *reinterpret_cast<std::uint16_t*>(weights_ + key / 64 * columns * 128 +
                                                  swizzled(lane % 4 * 2 + i % 2, key % 64)) =
                    static_cast<std::uint16_t>(pack_bf16(weight, 0));
            }
        __syncthreads();
    }

    // Dimensions as rows: warp w has tiles w and w + 4 of 16, as far as there are so many.
    __device__ void multiply_values() {
        const std::uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        float part[2][4] = {}, ones[4] = {};
#pragma unroll
        for (std::uint32_t step = 0; step < key_chunk / step_k; ++step) {
            std::uint32_t b[4];
            load_matrices(b, address_of(weights_) + step / 4 * columns * 128 +
                                 swizzled(lane % 8, step % 4 * 16 + lane / 8 % 2 * 8));
            mma_bf16(ones, {0x3f803f80, 0x3f803f80, 0x3f803f80, 0x3f803f80}, {b[0], b[1]});
#pragma unroll
            for (std::uint32_t m = 0; m < 2; ++m) {
                const std::uint32_t d = (warp + m * 4) * 16 + lane / 8 % 2 * 8;
                if ((warp + m * 4) * 16 >= panels_ * 64) continue;
                std::uint32_t a[4];
                load_transposed(a, address_of(values_) + d / 64 * panel_bytes +
                                       swizzled(step * 16 + lane / 16 * 8 + lane % 8, d % 64));
                mma_bf16(part[m], a, {b[0], b[1]});
            }
        }
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const float largest = fmaxf(running_.largest[i], chunk_largest_[i]);
            const float before = exp2_approx(__fsub_rn(running_.largest[i], largest));
            const float now = exp2_approx(__fsub_rn(chunk_largest_[i], largest));
            running_.largest[i] = largest;
            running_.sum[i] = __fmaf_rn(ones[i], now, __fmul_rn(running_.sum[i], before));
#pragma unroll
            for (int m = 0; m < 2; ++m)
#pragma unroll
                for (int upper = 0; upper < 4; upper += 2)
                    running_.out[m][i + upper] = __fmaf_rn(
                        part[m][i + upper], now, __fmul_rn(running_.out[m][i + upper], before));
        }
    }

    __device__ void store() const {
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
                                                  activation_at(a_.rows.capacity, blockIdx.x, k)) =
                    static_cast<std::uint16_t>(
                        pack_bf16(__fdiv_rn(running_.out[m][i], running_.sum[i % 2]), 0));
            }
    }

    const Attention& a_;
    const Row row_;
    std::uint32_t kv_head_, panels_, group_;
    std::uint8_t *keys_, *values_, *queries_, *weights_;
    float* maxima_;  // [warp][column]
    float chunk_largest_[2];
    Running running_;
};

std::uint32_t shared_bytes(const Attention& a) {
    const std::uint32_t panels = a.cache_shape.panels();
    return 2 * panels * panel_bytes + panels * columns * 128 + 2 * columns * 128 +
           4 * columns * sizeof(float);
}

__global__ void __launch_bounds__(threads) attention_kernel(Attention a) {
    extern __shared__ __align__(1024) std::uint8_t shared[];
    Worker(a, shared).run();
}

}  // namespace

int launch(const Attention& job, Stream stream) {
    if (job.rows.count == 0) return cudaSuccess;
    const std::uint32_t bytes = shared_bytes(job);
    const cudaError_t allowed = cudaFuncSetAttribute(
        attention_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    if (allowed != cudaSuccess) return allowed;
    attention_kernel<<<dim3(job.rows.count, job.cache_shape.kv_heads), threads, bytes,
                       static_cast<cudaStream_t>(stream)>>>(job);
    return cudaGetLastError();
}

}  // namespace holdfast::cuda
