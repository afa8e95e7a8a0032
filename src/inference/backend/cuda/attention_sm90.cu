// Attention of at most a few tokens, each alone in its sequence: a cluster of eight blocks for each
// token and key-value head. Block i takes chunks i, i + 8, ...; the first merges them in their
// order. All keys but the newest are asked for before the kernels before this one have ended.
#include <cuda_runtime.h>

#include "inference/backend/cuda/attention.cuh"
#include "inference/backend/cuda/copy.cuh"
#include "inference/backend/cuda/exchange.cuh"

namespace holdfast::cuda::hopper {
namespace {

constexpr std::uint32_t ranks = 8, pieces = sizeof(Attended) / sizeof(uint4);

// What the other blocks send, in pieces of each thread.
using Sent = uint4[ranks - 1][pieces][attention_threads];

// One warp asks for the blocks of 16 positions of a chunk: a lane for each block, panel and kind.
__device__ void ask(const Attention& a, const AttentionWorker& worker, std::uint32_t first,
                    std::uint32_t kv_head, Barrier* barrier) {
    const std::uint32_t panels = a.cache_shape.panels(), lane = threadIdx.x;
    const std::uint32_t blocks = min(key_chunk, worker.row().position - first + 1 + 15) / 16;
    if (lane == 0) barrier_expect(barrier, blocks * panels * 2 * 2048);
    __syncwarp();
    for (std::uint32_t i = lane; i < blocks * panels * 2; i += 32) {
        const std::uint32_t block = i / (panels * 2), panel = i / 2 % panels;
        const bool value = i % 2 == 1;
        const std::uint32_t number = a.rows.tables[worker.row().table + first / 16 + block];
        bulk_copy((value ? worker.values() : worker.keys()) + panel * panel_bytes + block * 2048,
                  a.cache + cached_at(a.cache_shape, number, 0, kv_head, value, panel * 64), 2048,
                  barrier);
    }
}

__device__ void send(const Attended& chunk, Sent& sent, Barrier* arrived, std::uint32_t rank) {
    uint4 values[pieces];
    memcpy(values, &chunk, sizeof values);
#pragma unroll
    for (std::uint32_t i = 0; i < pieces; ++i)
        store_remote(&sent[rank - 1][i][threadIdx.x], arrived, 0, values[i]);
}

__device__ Attended received(const Sent& sent, std::uint32_t rank) {
    uint4 values[pieces];
#pragma unroll
    for (std::uint32_t i = 0; i < pieces; ++i) values[i] = sent[rank - 1][i][threadIdx.x];
    Attended chunk;
    memcpy(&chunk, values, sizeof values);
    return chunk;
}

__global__ void __launch_bounds__(attention_threads)
    attention_kernel(const __grid_constant__ Attention a) {
    extern __shared__ __align__(1024) std::uint8_t shared[];
    __shared__ Barrier come, arrived;
    auto& sent = *reinterpret_cast<Sent*>(shared + attention_shared_bytes(a.cache_shape));
    const std::uint32_t rank = cluster_rank();
    AttentionWorker worker(a, blockIdx.y, blockIdx.z, shared);
    const std::uint32_t chunks = worker.row().position / key_chunk + 1;
    if (threadIdx.x == 0) {
        barrier_init(&come, 1);
        barrier_init(&arrived, 1);
        fence_barrier_init();
    }
    __syncthreads();
    cluster_arrive();
    let_next_begin();
    if (threadIdx.x < 32 && rank < chunks) ask(a, worker, rank * key_chunk, blockIdx.z, &come);
    const auto take = [&](std::uint32_t round) {
        barrier_wait(&come, round % 2);
        const std::uint32_t keys = worker.row().position - (round * ranks + rank) * key_chunk + 1;
        if (keys < key_chunk) worker.clear_values(keys);
    };
    if (rank < chunks) take(0);
    wait_for_previous();
    worker.load_queries();
    cluster_wait();
    Attended all;
    for (std::uint32_t round = 0; round * ranks < chunks; ++round) {
        const std::uint32_t here = min(chunks - round * ranks, ranks);
        const std::uint32_t first = (round * ranks + rank) * key_chunk;
        if (rank == 0 && threadIdx.x == 0 && here > 1)
            barrier_expect(&arrived, (here - 1) * sizeof(Sent) / (ranks - 1));
        if (rank < here) {
            if (round > 0) {
                if (threadIdx.x < 32) ask(a, worker, first, blockIdx.z, &come);
                take(round);
            }
            // The newest key is younger than what was copied.
            if (worker.row().position - first < key_chunk)
                worker.load_key(first, worker.row().position - first);
            const Attended made = worker.attend(first);
            if (rank == 0)
                all.merge(made);
            else
                send(made, sent, &arrived, rank);
        }
        if (rank == 0 && here > 1) {
            barrier_wait(&arrived, round % 2);
            for (std::uint32_t other = 1; other < here; ++other) all.merge(received(sent, other));
        }
        if ((round + 1) * ranks < chunks) {
            cluster_arrive();
            cluster_wait();
        }
    }
    if (rank == 0) worker.store(all);
}

}  // namespace

int launch(const Attention& job, Stream stream) {
    if (job.rows.count == 0) return cudaSuccess;
    if (!job.alone) return cudaErrorInvalidValue;
    const std::uint32_t bytes = attention_shared_bytes(job.cache_shape) + sizeof(Sent);
    const cudaError_t allowed = cudaFuncSetAttribute(
        attention_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    if (allowed != cudaSuccess) return allowed;
    cudaLaunchAttribute attributes[2] = {};
    attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[0].val.programmaticStreamSerializationAllowed = 1;
    attributes[1].id = cudaLaunchAttributeClusterDimension;
    attributes[1].val.clusterDim = {ranks, 1, 1};
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(ranks, job.rows.count, job.cache_shape.kv_heads);
    config.blockDim = dim3(attention_threads);
    config.dynamicSmemBytes = bytes;
    config.stream = static_cast<cudaStream_t>(stream);
    config.attrs = attributes;
    config.numAttrs = 2;
    return cudaLaunchKernelEx(&config, attention_kernel, job);
}

}  // namespace holdfast::cuda::hopper
