#include "inference/backend/cuda/copy.cuh"
#include "inference/backend/cuda/exchange.cuh"
#include "inference/backend/cuda/lab/lab.cuh"
#include "inference/backend/cuda/lab/lab.h"

namespace holdfast::cuda::lab {
namespace {

constexpr std::uint32_t rounds = 2000;
constexpr std::uint32_t words_max = 1536, replicas_max = 8;
constexpr std::uint32_t stream_bytes = 8192, flight_max = 24;

enum class By { words, counter };

struct Exchange {
    By by;
    std::uint32_t words;     // that everybody reads, each block writing its share
    std::uint32_t replicas;  // of the words: a block reads one of them
    std::uint64_t* places;   // for each replica two buffers of `words`
    std::uint32_t* counter;
    std::uint32_t* ticks;      // of each round of block 0
    const std::uint8_t* data;  // to stream beside, or null
    std::size_t data_bytes;
    std::uint32_t flight;   // copies under way at the same time
    std::uint32_t* copies;  // made by all blocks
    std::uint32_t* sink;
    Stuck* stuck;
};

// The last warp reads memory as fast as it can until the others are done.
__device__ void stream_beside(const Exchange& e, std::uint8_t* ring, Barrier* full,
                              volatile std::uint32_t* done) {
    if (threadIdx.x % 32 != 0) return;
    const std::size_t share = e.data_bytes / gridDim.x / stream_bytes * stream_bytes;
    const std::uint8_t* begin = e.data + blockIdx.x * share;
    const std::uint8_t* from = begin;
    RingPosition next, oldest;
    std::uint32_t asked = 0, come = 0;
    const auto take = [&] {
        barrier_wait(&full[oldest.slot], oldest.parity);
        oldest.advance(e.flight);
        ++come;
    };
    while (*done == 0) {
        if (asked - come == e.flight) take();
        barrier_expect(&full[next.slot], stream_bytes);
        bulk_copy(ring + next.slot * stream_bytes, from, stream_bytes, &full[next.slot]);
        next.advance(e.flight);
        ++asked;
        from += stream_bytes;
        if (from == begin + share) from = begin;
    }
    while (come < asked) take();
    atomicAdd(e.copies, asked);
}

// Every block writes some: one that nobody waits for may be overtaken, and then waits for ever.
__device__ std::uint32_t first_of(const Exchange& e, std::uint32_t block) {
    return block * e.words / gridDim.x;
}

__device__ std::uint32_t round_by_words(const Exchange& e, std::uint32_t round,
                                        std::uint32_t workers) {
    std::uint64_t* buffer = e.places + round % 2 * std::size_t{words_max};
    const std::uint32_t mine = first_of(e, blockIdx.x) + threadIdx.x;
    if (mine < first_of(e, blockIdx.x + 1))
        for (std::uint32_t i = 0; i < e.replicas; ++i)
            store_word(buffer + i * 2 * words_max + mine, mine + round, round + 1);
    buffer += blockIdx.x % e.replicas * 2 * words_max;
    std::uint32_t sum = 0;
    for (std::uint32_t i = threadIdx.x * 2; i < e.words; i += workers * 2) {
        const WordPair pair = poll_words(buffer + i, round + 1, e.stuck);
        sum += pair.first.value + pair.second.value;
    }
    return sum;
}

__device__ std::uint32_t round_by_counter(const Exchange& e, std::uint32_t round,
                                          std::uint32_t workers) {
    auto* buffer = reinterpret_cast<std::uint32_t*>(e.places + round % 2 * std::size_t{words_max});
    const std::uint32_t mine = first_of(e, blockIdx.x) + threadIdx.x;
    if (mine < first_of(e, blockIdx.x + 1))
        asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(buffer + mine), "r"(mine + round)
                     : "memory");
    named_barrier(1, workers);
    if (threadIdx.x == 0) {
        asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(e.counter) : "memory");
        std::uint32_t seen;
        Patience patience;
        do {
            asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                         : "=r"(seen)
                         : "l"(e.counter)
                         : "memory");
            patience.tried((round + 1) * gridDim.x, seen, e.stuck);
        } while (seen < (round + 1) * gridDim.x);
    }
    named_barrier(1, workers);
    std::uint32_t sum = 0;
    for (std::uint32_t i = threadIdx.x * 4; i < e.words; i += workers * 4) {
        const uint4 v = __ldcg(reinterpret_cast<const uint4*>(buffer + i));
        sum += v.x + v.y + v.z + v.w;
    }
    return sum;
}

__global__ void __launch_bounds__(544, 1) exchange_kernel(Exchange e) {
    extern __shared__ __align__(128) std::uint8_t ring[];
    __shared__ Barrier full[flight_max];
    __shared__ std::uint32_t done;
    const std::uint32_t workers = blockDim.x - 32;
    if (threadIdx.x == 0) {
        for (Barrier& barrier : full) barrier_init(&barrier, 1);
        fence_barrier_init();
        done = 0;
    }
    __syncthreads();
    if (threadIdx.x >= workers) {
        if (e.data != nullptr) stream_beside(e, ring, full, &done);
        return;
    }
    std::uint32_t sum = 0;
    long long before = clock64();
    for (std::uint32_t round = 0; round < rounds; ++round) {
        sum += e.by == By::words ? round_by_words(e, round, workers)
                                 : round_by_counter(e, round, workers);
        named_barrier(1, workers);
        if (threadIdx.x == 0 && blockIdx.x == 0) {
            const long long now = clock64();
            e.ticks[round] = static_cast<std::uint32_t>(now - before);
            before = now;
        }
    }
    if (threadIdx.x == 0) *static_cast<volatile std::uint32_t*>(&done) = 1;
    if (sum == 1) *e.sink = sum;
}

// Sums of four blocks of a cluster go to the first and come back: two hops a round.
__global__ void __cluster_dims__(4, 1, 1) __launch_bounds__(128, 1)
    cluster_kernel(std::uint32_t* ticks, std::uint32_t* sink) {
    __shared__ __align__(16) std::uint32_t there[4][128], back[128];
    __shared__ Barrier arrived, returned;
    const std::uint32_t rank = cluster_rank(), lane = threadIdx.x;
    constexpr std::uint32_t bytes = 64 * 8;
    if (lane == 0) {
        barrier_init(&arrived, 1);
        barrier_init(&returned, 1);
        fence_barrier_init();
        barrier_expect(&arrived, 4 * bytes);
        barrier_expect(&returned, bytes);
    }
    __syncthreads();
    cluster_arrive();
    cluster_wait();
    std::uint32_t value = lane;
    const long long before = clock64();
    for (std::uint32_t round = 0; round < rounds; ++round) {
        if (lane < 64) store_remote(&there[rank][lane * 2], &arrived, 0, value, lane);
        if (rank == 0) {
            barrier_wait(&arrived, round % 2);
            __syncthreads();
            if (lane == 0) barrier_expect(&arrived, 4 * bytes);
            __syncthreads();
            value = there[0][lane] + there[1][lane] + there[2][lane] + there[3][lane];
            __syncthreads();
            if (lane < 64)
                for (std::uint32_t to = 0; to < 4; ++to)
                    store_remote(&back[lane * 2], &returned, to, value, lane);
        }
        barrier_wait(&returned, round % 2);
        __syncthreads();
        if (lane == 0) barrier_expect(&returned, bytes);
        __syncthreads();
        value = back[lane];
    }
    if (lane == 0 && blockIdx.x == 0) *ticks = static_cast<std::uint32_t>(clock64() - before);
    if (value == 1) *sink = value;
    cluster_arrive();
    cluster_wait();
}

void measure(const Exchange& e, std::uint32_t workers, const Memory& places) {
    const std::uint32_t shared = stream_bytes * flight_max;
    const float us = median_us(
        [&] {
            check(cudaMemsetAsync(places.as(), 0, places.bytes()), "clear");
            exchange_kernel<<<multiprocessors(), workers + 32, shared>>>(e);
        },
        3);
    std::vector<std::uint32_t> ticks(rounds);
    std::uint32_t copies = 0;
    check(cudaMemcpy(ticks.data(), e.ticks, rounds * 4, cudaMemcpyDeviceToHost), "ticks");
    check(cudaMemcpy(&copies, e.copies, 4, cudaMemcpyDeviceToHost), "copies");
    double all = 0;
    for (const std::uint32_t t : ticks) all += t;
    std::sort(ticks.begin(), ticks.end());
    const double ns = us * 1000 / all;  // of one tick
    std::printf(
        "  %4u %-23s %3u threads, %u replicas: mean %5.0f ns, median %5.0f, 99 %% %5.0f, worst "
        "%5.0f",
        e.words, e.by == By::words ? "tagged words," : "values behind a counter,", workers,
        e.replicas, us * 1000 / rounds, ticks[rounds / 2] * ns, ticks[rounds * 99 / 100] * ns,
        ticks[rounds - 1] * ns);
    if (e.data != nullptr)
        std::printf("; %3u KB in flight, %5.3f TB/s", e.flight * stream_bytes >> 10,
                    double(copies) * stream_bytes / us / 1e6);
    std::printf("\n");
}

void clusters_that_fit() {
    for (const int size : {2, 4, 8})
        for (const std::uint32_t kb : {100, 220}) {
            allow_shared_memory(exchange_kernel, kb << 10);
            cudaLaunchConfig_t config{};
            config.gridDim = dim3(static_cast<unsigned>(size * 128));
            config.blockDim = dim3(512 + 32);
            config.dynamicSmemBytes = kb << 10;
            cudaLaunchAttribute attribute{};
            attribute.id = cudaLaunchAttributeClusterDimension;
            attribute.val.clusterDim = {static_cast<unsigned>(size), 1, 1};
            config.attrs = &attribute;
            config.numAttrs = 1;
            int clusters = 0;
            check(cudaOccupancyMaxActiveClusters(&clusters, exchange_kernel, &config), "clusters");
            std::printf("  clusters of %d with %3u KB of shared memory a block: %d fit\n", size, kb,
                        clusters);
        }
}

}  // namespace

void exchanges() {
    Memory places(replicas_max * words_max * 2 * 8 + 4096), ticks(1 << 16),
        data(std::size_t{2} << 30);
    allow_shared_memory(exchange_kernel, 220 << 10);
    Exchange e{};
    e.places = places.as<std::uint64_t>();
    e.counter = reinterpret_cast<std::uint32_t*>(places.as() + replicas_max * words_max * 2 * 8);
    e.ticks = ticks.as<std::uint32_t>();
    e.sink = e.ticks + rounds + 8;
    e.data_bytes = data.bytes();
    e.copies = e.counter + 64;
    e.stuck = stuck();
    e.replicas = 1;
    e.words = 768;
    for (const By by : {By::words, By::counter})
        for (const std::uint32_t workers : {128u, 256u, 512u}) {
            e.by = by;
            measure(e, workers, places);
        }
    e.by = By::words;
    for (const std::uint32_t words : {768u, 1536u})
        for (const std::uint32_t replicas : {1u, 2u, 4u, 8u}) {
            e.words = words;
            e.replicas = replicas;
            measure(e, 512, places);
        }
    e.data = data.as();
    e.words = 768;
    for (const std::uint32_t replicas : {1u, 4u})
        for (const std::uint32_t flight : {1u, 2u, 3u, 4u, 5u, 6u, 8u, 12u, 24u}) {
            e.replicas = replicas;
            e.flight = flight;
            measure(e, 512, places);
        }
    const float us =
        median_us([&] { cluster_kernel<<<multiprocessors() / 4 * 4, 128>>>(e.ticks, e.sink); });
    std::printf("  cluster of 4, 512 bytes to the first and back: %.0f ns a round\n",
                us * 1000 / rounds);
    clusters_that_fit();
}

}  // namespace holdfast::cuda::lab
