// Products of weights and activations by mma.sync, with what a decoder step does to their sums: the
// plain implementation, for every device of compute capability 8.0 or later. A block of four warps
// makes 64 rows of up to `width` columns; segments are added by the thread that holds them.
#include <cuda_runtime.h>

#include "inference/backend/cuda/endings.cuh"
#include "inference/backend/cuda/kernels.h"
#include "inference/backend/cuda/mma.cuh"

namespace holdfast::cuda {
namespace {

constexpr std::uint32_t threads = sum_threads, stages = 4;

__device__ __forceinline__ std::uint32_t address_of(const void* shared) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}

// 16 bytes, or as many zeros.
__device__ __forceinline__ void copy_piece(std::uint32_t to, const void* from, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(there ? 16 : 0)
                 : "memory");
}

__device__ __forceinline__ void copies_commit() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int pending>
__device__ __forceinline__ void copies_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

template <int width>
class Multiplier {
public:
    static constexpr std::uint32_t stage_bytes = block_bytes + width * 128;
    static constexpr std::uint32_t shared_bytes = stages * stage_bytes;

    __device__ Multiplier(const Product& p, std::uint8_t* ring)
        : p_(p), ring_(address_of(ring)), blocks_(p.shape.blocks()) {}

    __device__ void run(Sums<width>& sums) {
        for (std::uint32_t k = 0; k + 1 < stages; ++k) ask(k);
        const std::uint32_t count = segments(p_.shape.role);
        sums.clear();
        for (std::uint32_t s = 0; s < count; ++s) {
            Sums<width> part;
            part.clear();
            for (std::uint32_t k = segment_begin(s, count, blocks_);
                 k < segment_begin(s + 1, count, blocks_); ++k)
                block(part, k);
#pragma unroll
            for (int group = 0; group < width / 8; ++group)
#pragma unroll
                for (int i = 0; i < 4; ++i)
                    sums.d[group][i] = count == 1 ? part.d[group][i]
                                                  : __fadd_rn(sums.d[group][i], part.d[group][i]);
        }
    }

private:
    // Asks for block `k` of both operands. Also beyond the last: an empty group keeps the count.
    __device__ void ask(std::uint32_t k) {
        if (k < blocks_) {
            const std::uint32_t stage = ring_ + k % stages * stage_bytes;
            const auto* weights = static_cast<const std::uint8_t*>(p_.weights) +
                                  (std::size_t{blockIdx.x} * blocks_ + k) * block_bytes;
#pragma unroll
            for (std::uint32_t i = threadIdx.x; i < block_bytes / 16; i += threads)
                copy_piece(stage + i * 16, weights + i * 16, true);
            for (std::uint32_t i = threadIdx.x; i < width * 8; i += threads) {
                const std::uint32_t column = blockIdx.y * width + i / 8;
                const bool there = column < p_.count;
                const std::uint32_t token = !there                  ? 0
                                            : p_.columns != nullptr ? p_.columns[column]
                                                                    : column;
                copy_piece(stage + block_bytes + swizzled(i / 8, i % 8 * 8),
                           static_cast<const std::uint8_t*>(p_.x) +
                               activation_at(p_.capacity, token, k * block_k + i % 8 * 8),
                           there);
            }
        }
        copies_commit();
    }

    __device__ void block(Sums<width>& sums, std::uint32_t k) {
        copies_wait<stages - 2>();
        __syncthreads();  // block k has come, and nobody reads block k - 1 any more
        ask(k + stages - 1);
        const std::uint32_t stage = ring_ + k % stages * stage_bytes, lane = threadIdx.x % 32;
        const std::uint32_t row = threadIdx.x / 32 * 16 + lane % 16;
        std::uint32_t a[4][4];
#pragma unroll
        for (std::uint32_t step = 0; step < 4; ++step)
            load_matrices(a[step], stage + swizzled(row, step * 16 + lane / 16 * 8));
#pragma unroll
        for (int group = 0; group < width / 8; ++group)
#pragma unroll
            for (std::uint32_t half = 0; half < 2; ++half) {
                std::uint32_t b[4];
                load_matrices(b, stage + block_bytes +
                                     swizzled(group * 8 + lane % 8, half * 32 + lane / 8 * 8));
                mma_bf16(sums.d[group], a[half * 2], {b[0], b[1]});
                mma_bf16(sums.d[group], a[half * 2 + 1], {b[2], b[3]});
            }
    }

    const Product& p_;
    std::uint32_t ring_, blocks_;
};

template <int width, class Ending, class Job>
__device__ void run(Ending& ending, const Job& job, std::uint8_t* ring) {
    Sums<width> sums;
    sums.tile = blockIdx.x;
    sums.first_column = blockIdx.y * width;
    Multiplier<width>(job.product, ring).run(sums);
    ending.begin(sums);
    ending.middle(sums);
    ending(sums);
}

template <int width, class Job, template <int> class End>
__global__ void __launch_bounds__(threads, 3) scaled_kernel(Job job) {
    extern __shared__ __align__(1024) std::uint8_t ring[];
    __shared__ float factors[width];
    const std::uint32_t column = blockIdx.y * width + threadIdx.x;
    if (threadIdx.x < width && column < job.product.count)
        factors[threadIdx.x] = factor_of(job.product, job.scale, column);
    __syncthreads();
    End<width> ending{job, factors};
    run<width>(ending, job, ring);
}

template <int width>
__global__ void __launch_bounds__(threads, 3) residual_kernel(AddResidual job) {
    extern __shared__ __align__(1024) std::uint8_t ring[];
    __shared__ float squares[4 * width];
    ResidualEnd<width> ending{job, squares};
    run<width>(ending, job, ring);
}

template <int width, class Job>
int launch_kernel(void (*kernel)(Job), const Job& job, Stream stream) {
    constexpr std::uint32_t bytes = Multiplier<width>::shared_bytes;
    if (job.product.count == 0) return cudaSuccess;
    const cudaError_t allowed = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    if (allowed != cudaSuccess) return allowed;
    const dim3 grid(job.product.shape.tiles(), (job.product.count + width - 1) / width);
    kernel<<<grid, threads, bytes, static_cast<cudaStream_t>(stream)>>>(job);
    return cudaGetLastError();
}

constexpr std::uint32_t narrow = 8, wide = 64;

template <class Job, template <int> class End>
int launch_scaled(const Job& job, Stream stream) {
    if (job.product.count <= narrow)
        return launch_kernel<narrow>(scaled_kernel<narrow, Job, End>, job, stream);
    return launch_kernel<wide>(scaled_kernel<wide, Job, End>, job, stream);
}

}  // namespace

int launch(const Qkv& job, Stream stream) { return launch_scaled<Qkv, QkvEnd>(job, stream); }

int launch(const SwiGlu& job, Stream stream) {
    return launch_scaled<SwiGlu, SwiGluEnd>(job, stream);
}

int launch(const Logits& job, Stream stream) {
    return launch_scaled<Logits, LogitsEnd>(job, stream);
}

int launch(const AddResidual& job, Stream stream) {
    if (job.product.count <= narrow)
        return launch_kernel<narrow>(residual_kernel<narrow>, job, stream);
    return launch_kernel<wide>(residual_kernel<wide>, job, stream);
}

}  // namespace holdfast::cuda
