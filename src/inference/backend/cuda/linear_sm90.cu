// Products of weights and at most eight columns, where reading the weights is all that takes time.
// Each block multiplies one tile of 64 rows, or a quarter of its inputs as one of four blocks of a
// cluster. It asks for its first weights before the kernels before it have ended, so that in a
// chain of programmatic launches memory is never idle; mma.sync is faster here than wgmma
// (docs/gpu.md).
#include <cuda_runtime.h>

#include "inference/backend/cuda/endings.cuh"
#include "inference/backend/cuda/exchange.cuh"
#include "inference/backend/cuda/kernels.h"
#include "inference/backend/cuda/mma.cuh"

namespace holdfast::cuda::hopper {
namespace {

constexpr int width = 8;
// A ring of stages, each of some blocks of weights and the inputs that they are multiplied with.
// How many: all that a block of queries or of attention output needs; as many as leave room for
// the next kernels' blocks where there are many tiles; more where few blocks read long segments.
constexpr std::uint32_t short_ring = 3, wide_ring = 4, deep_ring = 10;
constexpr std::uint32_t stage_blocks = 2, x_bytes = width * 128;
constexpr std::uint32_t stage_bytes = stage_blocks * (block_bytes + x_bytes);
constexpr std::uint32_t ranks = 4;
// Four warps of sums, one that copies, one that makes factors.
constexpr std::uint32_t copier = sum_threads, factor_warp = sum_threads + 32,
                        threads = sum_threads + 64;
constexpr std::uint32_t factors_ready = 2;  // a named barrier

template <std::uint32_t slots>
struct Barriers {
    Barrier weights[slots], x[slots], empty[slots], parts;
};

// Blocks [begin, end) of a tile's inputs.
struct Part {
    std::uint32_t tile, begin, end;

    __device__ std::uint32_t stages() const {
        return (end - begin + stage_blocks - 1) / stage_blocks;
    }
    __device__ std::uint32_t blocks_of(std::uint32_t stage) const {
        return min(stage_blocks, end - begin - stage * stage_blocks);
    }
};

template <bool clustered>
__device__ Part part_of(const Product& p) {
    if constexpr (!clustered) return {blockIdx.x, 0, p.shape.blocks()};
    const std::uint32_t rank = blockIdx.x % ranks, blocks = p.shape.blocks();
    return {blockIdx.x / ranks, segment_begin(rank, ranks, blocks),
            segment_begin(rank + 1, ranks, blocks)};
}

template <std::uint32_t slots>
__device__ void produce(const Product& p, const Part& part, std::uint8_t* ring,
                        Barriers<slots>& b) {
    const std::uint64_t policy = policy_evict_first();
    const auto* weights = static_cast<const std::uint8_t*>(p.weights) +
                          (std::size_t{part.tile} * p.shape.blocks() + part.begin) * block_bytes;
    const auto* x = static_cast<const std::uint8_t*>(p.x);
    const std::uint32_t stages = part.stages();
    const auto ask_weights = [&](std::uint32_t i, std::uint32_t slot) {
        const std::uint32_t bytes = part.blocks_of(i) * block_bytes;
        barrier_expect(&b.weights[slot], bytes);
        bulk_copy(ring + slot * stage_bytes, weights + std::size_t{i} * stage_blocks * block_bytes,
                  bytes, &b.weights[slot], policy);
    };
    const auto ask_x = [&](std::uint32_t i, std::uint32_t slot) {
        const std::uint32_t blocks = part.blocks_of(i);
        barrier_expect(&b.x[slot], blocks * x_bytes);
        for (std::uint32_t block = 0; block < blocks; ++block)
            bulk_copy(
                ring + slot * stage_bytes + stage_blocks * block_bytes + block * x_bytes,
                x + activation_at(p.capacity, 0, (part.begin + i * stage_blocks + block) * block_k),
                x_bytes, &b.x[slot]);
    };
    const std::uint32_t first = min(stages, slots);
    for (std::uint32_t i = 0; i < first; ++i) ask_weights(i, i);
    wait_for_previous();
    for (std::uint32_t i = 0; i < first; ++i) ask_x(i, i);
    RingPosition at{0, 1};
    for (std::uint32_t i = slots; i < stages; ++i, at.advance(slots)) {
        barrier_wait(&b.empty[at.slot], at.parity ^ 1);
        ask_weights(i, at.slot);
        ask_x(i, at.slot);
    }
}

__device__ void multiply_block(Sums<width>& sums, std::uint32_t weights, std::uint32_t of_x) {
    const std::uint32_t lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane % 16;
    std::uint32_t x[2][4], a[4][4];
#pragma unroll
    for (std::uint32_t half = 0; half < 2; ++half)
        load_matrices(x[half], of_x + swizzled(lane % 8, half * 32 + lane / 8 * 8));
#pragma unroll
    for (std::uint32_t step = 0; step < 4; ++step)
        load_matrices(a[step], weights + swizzled(row, step * 16 + lane / 16 * 8));
#pragma unroll
    for (std::uint32_t step = 0; step < 4; ++step)
        mma_bf16(sums.d[0], a[step], {x[step / 2][step % 2 * 2], x[step / 2][step % 2 * 2 + 1]});
}

template <std::uint32_t slots>
__device__ void multiply(Sums<width>& sums, const Part& part, std::uint8_t* ring,
                         Barriers<slots>& b) {
    RingPosition at;
    for (std::uint32_t i = 0; i < part.stages(); ++i, at.advance(slots)) {
        barrier_wait(&b.weights[at.slot], at.parity);
        barrier_wait(&b.x[at.slot], at.parity);
        const std::uint32_t stage = shared_address(ring + at.slot * stage_bytes);
        const std::uint32_t x = stage + stage_blocks * block_bytes;
        const std::uint32_t blocks = part.blocks_of(i);
#pragma unroll
        for (std::uint32_t block = 0; block < stage_blocks; ++block)
            if (block < blocks)
                multiply_block(sums, stage + block * block_bytes, x + block * x_bytes);
        __syncwarp();
        if (threadIdx.x % 32 == 0) barrier_arrive(&b.empty[at.slot]);
    }
}

// Segments come together in the first block of the cluster, which adds them in their order.
using Parts = float[ranks - 1][2][sum_threads][2];

template <std::uint32_t slots>
__device__ bool gather(Sums<width>& sums, Parts& parts, Barriers<slots>& b) {
    const std::uint32_t rank = cluster_rank();
    cluster_wait();  // the first block's barrier is ready
    if (rank != 0) {
#pragma unroll
        for (int half = 0; half < 2; ++half)
            store_remote(&parts[rank - 1][half][threadIdx.x][0], &b.parts, 0,
                         __float_as_uint(sums.d[0][half * 2]),
                         __float_as_uint(sums.d[0][half * 2 + 1]));
        return false;
    }
    barrier_wait(&b.parts, 0);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        float total = __fadd_rn(0.0F, sums.d[0][i]);
#pragma unroll
        for (std::uint32_t other = 0; other + 1 < ranks; ++other)
            total = __fadd_rn(total, parts[other][i / 2][threadIdx.x][i % 2]);
        sums.d[0][i] = total;
    }
    return true;
}

template <std::uint32_t slots>
__device__ void prepare(Barriers<slots>& b, bool clustered) {
    if (threadIdx.x == 0) {
        for (std::uint32_t i = 0; i < slots; ++i) {
            barrier_init(&b.weights[i], 1);
            barrier_init(&b.x[i], 1);
            barrier_init(&b.empty[i], sum_threads / 32);
        }
        barrier_init(&b.parts, 1);
        fence_barrier_init();
        if (clustered && cluster_rank() == 0) barrier_expect(&b.parts, sizeof(Parts));
    }
    __syncthreads();
    if (clustered) cluster_arrive();
    let_next_begin();
}

template <std::uint32_t slots, class Job, template <int> class End, bool clustered, bool scaled>
__global__ void __launch_bounds__(threads, 4) product_kernel(const __grid_constant__ Job job) {
    extern __shared__ __align__(1024) std::uint8_t ring[];
    __shared__ Barriers<slots> barriers;
    __shared__ float scratch[4 * width];  // factors of the columns, or squares of each warp
    __shared__ Parts parts[1];
    prepare(barriers, clustered);
    const Part part = part_of<clustered>(job.product);
    if (threadIdx.x >= sum_threads) {
        if (threadIdx.x == copier) produce(job.product, part, ring, barriers);
        if constexpr (scaled) {
            if (threadIdx.x >= factor_warp) {
                wait_for_previous();
                const std::uint32_t column = threadIdx.x - factor_warp;
                if (column < job.product.count)
                    scratch[column] = factor_of(job.product, job.scale, column);
                named_barrier(factors_ready, sum_threads + 32);
            }
        }
        return;
    }
    Sums<width> sums;
    sums.clear();
    sums.tile = part.tile;
    End<width> ending{job, scratch};
    ending.begin(sums);
    wait_for_previous();
    ending.middle(sums);
    multiply(sums, part, ring, barriers);
    if constexpr (scaled) named_barrier(factors_ready, sum_threads + 32);
    if constexpr (clustered)
        if (!gather(sums, parts[0], barriers)) return;
    ending(sums);
}

template <std::uint32_t slots, bool clustered, class Job>
int launch_kernel(void (*kernel)(Job), const Job& job, Stream stream) {
    constexpr std::uint32_t bytes = slots * stage_bytes;
    if (job.product.count == 0) return cudaSuccess;
    if (job.product.count > width || job.product.columns != nullptr) return cudaErrorInvalidValue;
    const cudaError_t allowed = cudaFuncSetAttribute(
        kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    if (allowed != cudaSuccess) return allowed;
    cudaLaunchAttribute attributes[2] = {};
    attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[0].val.programmaticStreamSerializationAllowed = 1;
    attributes[1].id = cudaLaunchAttributeClusterDimension;
    attributes[1].val.clusterDim = {clustered ? ranks : 1, 1, 1};
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(job.product.shape.tiles() * (clustered ? ranks : 1));
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = bytes;
    config.stream = static_cast<cudaStream_t>(stream);
    config.attrs = attributes;
    config.numAttrs = 2;
    return cudaLaunchKernelEx(&config, kernel, job);
}

}  // namespace

int launch(const Qkv& job, Stream stream) {
    return launch_kernel<short_ring, true>(product_kernel<short_ring, Qkv, QkvEnd, true, true>, job,
                                           stream);
}

int launch(const AddResidual& job, Stream stream) {
    if (job.product.shape.role == Role::attention_output)
        return launch_kernel<short_ring, true>(
            product_kernel<short_ring, AddResidual, ResidualEnd, true, false>, job, stream);
    return launch_kernel<deep_ring, true>(
        product_kernel<deep_ring, AddResidual, ResidualEnd, true, false>, job, stream);
}

int launch(const SwiGlu& job, Stream stream) {
    return launch_kernel<wide_ring, false>(
        product_kernel<wide_ring, SwiGlu, SwiGluEnd, false, true>, job, stream);
}

int launch(const Logits& job, Stream stream) {
    return launch_kernel<wide_ring, false>(
        product_kernel<wide_ring, Logits, LogitsEnd, false, true>, job, stream);
}

}  // namespace holdfast::cuda::hopper
