// Products of weights and activations by mma.sync, with what a decoder step does to their sums: the
// plain implementation, for every device of compute capability 8.0 or later. A block of four warps
// makes 64 rows of up to `width` columns; segments are added by the thread that holds them.
#include <cuda_runtime.h>

#include "inference/backend/cuda/exact.cuh"
#include "inference/backend/cuda/kernels.h"
#include "inference/backend/cuda/mma.cuh"

namespace holdfast::cuda {
namespace {

constexpr std::uint32_t threads = 128, stages = 4;

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

// The sums that a thread holds: for each eight columns rows g and g + 8 of its warp's 16, where g
// is a quarter of its lane, and two neighbouring columns.
template <int width>
struct Sums {
    float d[width / 8][4];

    __device__ static std::uint32_t row(int i) {
        return blockIdx.x * tile_rows + threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + i / 2 * 8;
    }
    __device__ static std::uint32_t column_in_tile(int group, int i) {
        return group * 8 + threadIdx.x % 4 * 2 + i % 2;
    }
    __device__ static std::uint32_t column(int group, int i) {
        return blockIdx.y * width + column_in_tile(group, i);
    }
};

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
        clear(sums);
        for (std::uint32_t s = 0; s < count; ++s) {
            Sums<width> part;
            clear(part);
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
    __device__ static void clear(Sums<width>& sums) {
#pragma unroll
        for (auto& group : sums.d)
#pragma unroll
            for (float& sum : group) sum = 0;
    }

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

// r of each column of the tile, in shared memory.
template <int width>
__device__ void make_factors(const Product& p, const Scale& scale, float (&factors)[width]) {
    const std::uint32_t column = blockIdx.y * width + threadIdx.x;
    if (threadIdx.x < width && column < p.count) {
        const std::uint32_t token = p.columns != nullptr ? p.columns[column] : column;
        float sum = 0;
        for (std::uint32_t tile = 0; tile < padded(scale.hidden, 64) / 64; ++tile)
            sum = __fadd_rn(sum, scale.squares[std::size_t{tile} * p.capacity + token]);
        const float mean = __fdiv_rn(sum, static_cast<float>(scale.hidden));
        factors[threadIdx.x] = __frcp_rn(__fsqrt_rn(__fadd_rn(mean, scale.epsilon)));
    }
    __syncthreads();
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

// --- What becomes of the sums
// ----------------------------------------------------------------------

template <int width>
struct QkvEnd {
    const Qkv& q;
    float (&factors)[width];

    // Two values of one token and head, `half` dimensions apart, of which the lower is row `row` of
    // the model's order.
    __device__ void pair(std::uint32_t row, std::uint32_t token, float low, float high) const {
        const std::uint32_t dim = q.cache_shape.head_dim, half = dim / 2;
        const std::uint32_t head = row / dim, d = row % dim;
        const Row at = q.rows.rows[token];
        const bool value = head >= q.heads + q.cache_shape.kv_heads;
        if (!value) {
            const float* turn = q.rotary + std::size_t{at.position} * dim;
            const float c = turn[d], s = turn[half + d], old = low;
            low = __fsub_rn(__fmul_rn(low, c), __fmul_rn(high, s));
            high = __fadd_rn(__fmul_rn(high, c), __fmul_rn(old, s));
        }
        if (head < q.heads) {
            std::uint16_t* to = q.queries + (std::size_t{token} * q.heads + head) * dim + d;
            to[0] = bf16_bits(low);
            to[half] = bf16_bits(high);
            return;
        }
        const std::uint32_t kv_head = (head - q.heads) % q.cache_shape.kv_heads;
        const std::uint32_t block = q.rows.tables[at.table + at.position / 16];
        const auto put = [&](std::uint32_t dimension, float v) {
            *reinterpret_cast<std::uint16_t*>(q.cache + cached_at(q.cache_shape, block,
                                                                  at.position % 16, kv_head, value,
                                                                  dimension)) = bf16_bits(v);
        };
        put(d, low);
        put(d + half, high);
    }

    __device__ void operator()(const Sums<width>& sums) const {
        const std::uint32_t half = q.cache_shape.head_dim / 2;
        if (Sums<width>::row(0) >= q.product.shape.rows) return;
        const std::uint32_t low = paired_row(Sums<width>::row(0), half);
        const float low_bias = q.bias == nullptr ? 0 : q.bias[low];
        const float high_bias = q.bias == nullptr ? 0 : q.bias[low + half];
#pragma unroll
        for (int group = 0; group < width / 8; ++group)
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const std::uint32_t token = Sums<width>::column(group, i);
                if (token >= q.product.count) continue;
                const float r = factors[Sums<width>::column_in_tile(group, i)];
                pair(low, token, __fmaf_rn(sums.d[group][i], r, low_bias),
                     __fmaf_rn(sums.d[group][i + 2], r, high_bias));
            }
    }
};

template <int width>
struct ResidualEnd {
    const AddResidual& a;
    float (&squares)[4][width];  // of each warp

    __device__ void operator()(const Sums<width>& sums) const {
        const Residual& out = a.residual;
        const std::uint32_t warp = threadIdx.x / 32;
#pragma unroll
        for (int group = 0; group < width / 8; ++group)
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const std::uint32_t token = Sums<width>::column(group, i);
                float sum = 0;
#pragma unroll
                for (int upper = 0; upper < 4; upper += 2) {
                    const std::uint32_t row = Sums<width>::row(upper);
                    if (token >= a.product.count || row >= out.hidden) continue;
                    float& h = out.h[std::size_t{token} * out.hidden + row];
                    h = __fadd_rn(h, sums.d[group][i + upper]);
                    store_activation(out.x, a.product.capacity, token, row,
                                     __fmul_rn(h, out.norm[row]));
                    sum = __fadd_rn(sum, __fmul_rn(h, h));
                }
#pragma unroll
                for (int lanes = 4; lanes < 32; lanes *= 2)
                    sum = __fadd_rn(sum, __shfl_xor_sync(~0u, sum, lanes));
                if (threadIdx.x % 32 < 4)
                    squares[warp][Sums<width>::column_in_tile(group, i)] = sum;
            }
        __syncthreads();
        const std::uint32_t token = blockIdx.y * width + threadIdx.x;
        if (threadIdx.x >= width || token >= a.product.count) return;
        out.squares[std::size_t{blockIdx.x} * a.product.capacity + token] =
            __fadd_rn(__fadd_rn(squares[0][threadIdx.x], squares[1][threadIdx.x]),
                      __fadd_rn(squares[2][threadIdx.x], squares[3][threadIdx.x]));
    }
};

template <int width>
struct SwiGluEnd {
    const SwiGlu& g;
    float (&factors)[width];

    __device__ void operator()(const Sums<width>& sums) const {
        const std::uint32_t row = Sums<width>::row(0);
        if (row >= g.product.shape.rows) return;
#pragma unroll
        for (int group = 0; group < width / 8; ++group)
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const std::uint32_t token = Sums<width>::column(group, i);
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
    float (&factors)[width];

    __device__ void operator()(const Sums<width>& sums) const {
#pragma unroll
        for (int group = 0; group < width / 8; ++group)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const std::uint32_t row = Sums<width>::row(i);
                const std::uint32_t column = Sums<width>::column(group, i);
                if (row < l.product.shape.rows && column < l.product.count)
                    l.out[std::size_t{column} * l.product.shape.rows + row] =
                        __fmul_rn(factors[Sums<width>::column_in_tile(group, i)], sums.d[group][i]);
            }
    }
};

// --- Kernels
// ---------------------------------------------------------------------------------------

template <int width, class Job, template <int> class End>
__global__ void __launch_bounds__(threads, 3) scaled_kernel(Job job) {
    extern __shared__ __align__(1024) std::uint8_t ring[];
    __shared__ float factors[width];
    make_factors<width>(job.product, job.scale, factors);
    Sums<width> sums;
    Multiplier<width>(job.product, ring).run(sums);
    End<width>{job, factors}(sums);
}

template <int width>
__global__ void __launch_bounds__(threads, 3) residual_kernel(AddResidual job) {
    extern __shared__ __align__(1024) std::uint8_t ring[];
    __shared__ float squares[4][width];
    Sums<width> sums;
    Multiplier<width>(job.product, ring).run(sums);
    ResidualEnd<width>{job, squares}(sums);
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
