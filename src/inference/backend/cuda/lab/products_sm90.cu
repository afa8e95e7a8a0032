// Products of thousands of columns: weights as rows, tokens as columns, the sums of profile.h. Two
// warpgroups multiply 64 rows each, one thread copies; operands lie in memory as layout.h says.
#include "inference/backend/cuda/copy.cuh"
#include "inference/backend/cuda/exact.cuh"
#include "inference/backend/cuda/lab/lab.cuh"
#include "inference/backend/cuda/lab/lab.h"
#include "inference/backend/cuda/layout.h"
#include "inference/backend/cuda/mma.cuh"
#include "inference/backend/cuda/wgmma.cuh"

namespace holdfast::cuda::lab {
namespace {

constexpr std::uint32_t rows_of_tile = 128, group_tiles = 16;
constexpr std::uint32_t left_bytes = 2 * block_bytes;

enum class End { nothing, all, swiglu };  // what becomes of the sums

struct Job {
    const std::uint8_t* weights;
    const std::uint8_t* tokens;
    std::uint8_t* out;
    std::uint32_t row_tiles, column_tiles, blocks;  // blocks of 64 inputs
};

template <int columns, int segment_count, End end>
struct Kernel {
    static constexpr std::uint32_t right_bytes = columns * 128;
    static constexpr std::uint32_t stage_bytes = left_bytes + right_bytes;
    static constexpr std::uint32_t end_bytes = end == End::nothing ? 0 : right_bytes;
    static constexpr std::uint32_t stages = ((225 << 10) - end_bytes) / stage_bytes;
    static constexpr std::uint32_t shared_bytes = stages * stage_bytes + end_bytes;
    struct Tile {
        std::uint32_t row, column;
    };

    // Tiles in an order in which those that run at the same time share rows and columns.
    __device__ __forceinline__ static Tile tile_of(const Job& job, std::uint32_t number) {
        const std::uint32_t group = number / (group_tiles * job.column_tiles);
        const std::uint32_t first = group * group_tiles;
        const std::uint32_t height = min(group_tiles, job.row_tiles - first);
        const std::uint32_t inside = number - first * job.column_tiles;
        return {first + inside % height, inside / height};
    }

    __device__ __forceinline__ static void produce(const Job& job, std::uint8_t* ring,
                                                   Barrier* full, Barrier* empty) {
        RingPosition at;
        for (std::uint32_t n = blockIdx.x; n < job.row_tiles * job.column_tiles; n += gridDim.x) {
            const Tile tile = tile_of(job, n);
            for (std::uint32_t k = 0; k < job.blocks; ++k, at.advance(stages)) {
                barrier_wait(&empty[at.slot], at.parity ^ 1);
                barrier_expect(&full[at.slot], stage_bytes);
                std::uint8_t* stage = ring + at.slot * stage_bytes;
                for (std::uint32_t half = 0; half < 2; ++half)
                    bulk_copy(stage + half * block_bytes,
                              job.weights +
                                  (std::size_t{tile.row * 2 + half} * job.blocks + k) * block_bytes,
                              block_bytes, &full[at.slot]);
                bulk_copy(
                    stage + left_bytes,
                    job.tokens + (std::size_t{k} * job.column_tiles + tile.column) * right_bytes,
                    right_bytes, &full[at.slot]);
            }
        }
    }

    // Sums of one segment, each stage freed when the products behind it have begun.
    __device__ __forceinline__ static void multiply(const Job& job, float (&d)[columns / 2],
                                                    std::uint32_t blocks, std::uint8_t* ring,
                                                    Barrier* full, Barrier* empty,
                                                    RingPosition& at) {
        const std::uint32_t half = threadIdx.x / 128 - 1;
#pragma unroll
        for (float& sum : d) sum = 0;
        keep(d);
        std::uint32_t last = 0;
        for (std::uint32_t k = 0; k < blocks; ++k, at.advance(stages)) {
            barrier_wait(&full[at.slot], at.parity);
            const std::uint32_t stage = shared_address(ring + at.slot * stage_bytes);
            wgmma_fence();
#pragma unroll
            for (std::uint32_t step = 0; step < 4; ++step)
                Wgmma<columns>::ss_bf16(d, operand(stage + half * block_bytes, step),
                                        operand(stage + left_bytes, step));
            wgmma_commit();
            wgmma_wait<1>();
            if (k > 0 && threadIdx.x % 32 == 0) barrier_arrive(&empty[last]);
            last = at.slot;
        }
        wgmma_wait<0>();
        keep(d);
        if (threadIdx.x % 32 == 0) barrier_arrive(&empty[last]);
    }

    // 64 or 128 values of each token as the next product's operand: first in shared memory, whose
    // layout is that of memory, then by copies of whole blocks.
    __device__ __forceinline__ static void finish(const Job& job, float (&d)[columns / 2],
                                                  Tile tile, std::uint8_t* place) {
        if constexpr (end == End::nothing) {
            if (d[0] == 0x1.234p-100F) *job.out = 1;
        } else {
            const std::uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32 - 4;
            constexpr std::uint32_t passes = end == End::swiglu ? 1 : 2;
            for (std::uint32_t pass = 0; pass < passes; ++pass) {
                if (threadIdx.x == 128) bulk_stored();
                named_barrier(1, 256);
#pragma unroll
                for (int i = 0; i < columns / 8; i += 4) {
                    std::uint32_t r[4];
#pragma unroll
                    for (int j = 0; j < 4; ++j) {
                        const float* v = d + (i + j) * 4;
                        if constexpr (end == End::swiglu)
                            r[j] = pack_bf16(silu(v[0]) * v[2], silu(v[1]) * v[3]);
                        else
                            r[j] = pass == 0 ? pack_bf16(v[0], v[1]) : pack_bf16(v[2], v[3]);
                    }
                    const std::uint32_t token = i * 8 + lane;
                    store_transposed(shared_address(place) + swizzled(token, warp * 8), r[0], r[1],
                                     r[2], r[3]);
                }
                fence_async_shared();
                named_barrier(1, 256);
                const std::uint32_t block = tile.row * passes + pass;
                if (threadIdx.x == 128)
                    bulk_store(job.out + (std::size_t{block} * job.column_tiles + tile.column) *
                                             right_bytes,
                               place, right_bytes);
            }
        }
    }

    __device__ __forceinline__ static void consume(const Job& job, std::uint8_t* ring,
                                                   Barrier* full, Barrier* empty) {
        RingPosition at;
        for (std::uint32_t n = blockIdx.x; n < job.row_tiles * job.column_tiles; n += gridDim.x) {
            float d[columns / 2];
            if constexpr (segment_count == 1) {
                multiply(job, d, job.blocks, ring, full, empty, at);
                finish(job, d, tile_of(job, n), ring + stages * stage_bytes);
            } else {
                float total[columns / 2];
#pragma unroll
                for (float& sum : total) sum = 0;
                for (std::uint32_t s = 0; s < segment_count; ++s) {
                    const std::uint32_t blocks = segment_begin(s + 1, segment_count, job.blocks) -
                                                 segment_begin(s, segment_count, job.blocks);
                    multiply(job, d, blocks, ring, full, empty, at);
#pragma unroll
                    for (int i = 0; i < columns / 2; ++i) total[i] += d[i];
                }
                finish(job, total, tile_of(job, n), ring + stages * stage_bytes);
            }
        }
        if (threadIdx.x == 128) bulk_stored();
    }
};

template <int columns, int segment_count, End end>
__global__ void __launch_bounds__(384, 1) product_kernel(Job job) {
    using K = Kernel<columns, segment_count, end>;
    extern __shared__ __align__(1024) std::uint8_t ring[];
    __shared__ Barrier full[K::stages], empty[K::stages];
    if (threadIdx.x == 0) {
        for (std::uint32_t i = 0; i < K::stages; ++i) {
            barrier_init(&full[i], 1);
            barrier_init(&empty[i], 8);
        }
        fence_barrier_init();
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        keep_registers<40>();
        if (threadIdx.x == 0) K::produce(job, ring, full, empty);
        __syncwarp();
    } else {
        take_registers<232>();
        K::consume(job, ring, full, empty);
    }
}

struct Operands {
    const Memory& weights;
    const Memory& tokens;
    const Memory& out;
};

template <int columns, int segment_count, End end>
void measure(const char* what, const Operands& operands, std::uint32_t rows, std::uint32_t inputs,
             std::uint32_t tokens) {
    using K = Kernel<columns, segment_count, end>;
    auto* kernel = product_kernel<columns, segment_count, end>;
    allow_shared_memory(kernel, K::shared_bytes);
    const Job job{operands.weights.as(), operands.tokens.as(), operands.out.as(),
                  rows / rows_of_tile,   tokens / columns,     inputs / block_k};
    const float us =
        median_us([&] { kernel<<<multiprocessors(), 384, K::shared_bytes>>>(job); }, 9);
    const double work = 2.0 * rows * inputs * (tokens / columns * columns);
    std::printf(
        "  %-22s %5u x %4u x %4u, %3d columns a tile, %d segment%s: %8.1f us %5.0f TFLOP/s\n", what,
        rows, inputs, tokens / columns * columns, columns, segment_count,
        segment_count == 1 ? " " : "s", us, work / us / 1e6);
}

}  // namespace

void products() {
    const Memory weights(std::size_t{64} << 20), tokens(std::size_t{8256} * 8960 * 2),
        out(std::size_t{8256} * 8960 * 2);
    const Operands operands{weights, tokens, out};
    for (const std::uint32_t count : {2048u, 8192u}) {
        measure<256, 1, End::nothing>("gate/up, sums only", operands, 17920, 1536, count);
        measure<256, 1, End::swiglu>("gate/up, swiglu", operands, 17920, 1536, count);
        measure<192, 1, End::swiglu>("gate/up, swiglu", operands, 17920, 1536, count);
    }
    measure<192, 4, End::all>("down", operands, 1536, 8960, 8256);
    measure<192, 4, End::all>("down", operands, 1536, 8960, 4224);
    measure<128, 4, End::all>("down", operands, 1536, 8960, 8192);
    measure<192, 1, End::all>("down, free order", operands, 1536, 8960, 8256);
    measure<256, 1, End::all>("down, free order", operands, 1536, 8960, 8192);
    measure<192, 4, End::all>("queries, keys, values", operands, 2048, 1536, 8256);
    measure<128, 4, End::all>("queries, keys, values", operands, 2048, 1536, 8192);
    measure<192, 4, End::all>("attention output", operands, 1536, 1536, 8256);
    measure<128, 4, End::all>("attention output", operands, 1536, 1536, 8192);
}

}  // namespace holdfast::cuda::lab
