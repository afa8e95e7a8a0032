// How blocks of one grid hand values to each other without barriers: a word of 8 bytes is written
// and read whole, so that a value that carries the number of its step is its own flag. A reader
// polls the values themselves; nobody fences, counts or waits for everybody.
#pragma once

#include <cstdint>

#include "inference/backend/cuda/copy.cuh"

namespace holdfast::cuda {

struct Word {
    std::uint32_t value, tag;
};

__device__ __forceinline__ void store_word(void* at, std::uint32_t value, std::uint32_t tag) {
    const std::uint64_t word = value | static_cast<std::uint64_t>(tag) << 32;
    asm volatile("st.relaxed.gpu.global.b64 [%0], %1;" ::"l"(at), "l"(word) : "memory");
}

__device__ __forceinline__ Word load_word(const void* at) {
    std::uint64_t word;
    asm volatile("ld.relaxed.gpu.global.b64 %0, [%1];" : "=l"(word) : "l"(at) : "memory");
    return {static_cast<std::uint32_t>(word), static_cast<std::uint32_t>(word >> 32)};
}

// Two neighbours in one load; each is whole, but they may be of different ages.
struct WordPair {
    Word first, second;
};

__device__ __forceinline__ WordPair load_words(const void* at) {
    std::uint64_t a, b;
    asm volatile("ld.relaxed.gpu.global.v2.b64 {%0, %1}, [%2];"
                 : "=l"(a), "=l"(b)
                 : "l"(at)
                 : "memory");
    return {{static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(a >> 32)},
            {static_cast<std::uint32_t>(b), static_cast<std::uint32_t>(b >> 32)}};
}

__device__ __forceinline__ std::uint64_t global_nanoseconds() {
    std::uint64_t now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    return now;
}

// Who waited in vain, for the host to read: mapped memory that outlives the context.
struct Stuck {
    std::uint32_t waiting, block, thread, wanted, seen;
};

// A wait that ends: after two seconds without progress it says where and traps, which ends the
// process that owns the context; the supervisor starts another.
class Patience {
public:
    __device__ __forceinline__ void tried(std::uint32_t wanted, std::uint32_t seen, Stuck* stuck) {
        if (++tries_ % 1024 != 0) return;
        const std::uint64_t now = global_nanoseconds();
        if (begin_ == 0) begin_ = now;
        if (now - begin_ > 2'000'000'000) {
            *stuck = {1, blockIdx.x, threadIdx.x, wanted, seen};
            __threadfence_system();
            __trap();
        }
    }

private:
    std::uint32_t tries_ = 0;
    std::uint64_t begin_ = 0;
};

__device__ __forceinline__ WordPair poll_words(const void* at, std::uint32_t tag, Stuck* stuck) {
    Patience patience;
    while (true) {
        const WordPair pair = load_words(at);
        if (pair.first.tag == tag && pair.second.tag == tag) return pair;
        patience.tried(tag, pair.first.tag == tag ? pair.second.tag : pair.first.tag, stuck);
    }
}

// --- Within a cluster
// ------------------------------------------------------------------------------

__device__ __forceinline__ std::uint32_t cluster_rank() {
    std::uint32_t rank;
    asm volatile("mov.u32 %0, %cluster_ctarank;" : "=r"(rank));
    return rank;
}

__device__ __forceinline__ void cluster_arrive() {
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

__device__ __forceinline__ void cluster_wait() {
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Writes into the shared memory of block `rank` and counts the bytes on its barrier. `at` and
// `barrier` are addresses of this block's own shared memory, at the same place as there.
__device__ __forceinline__ void store_remote(void* at, Barrier* barrier, std::uint32_t rank,
                                             std::uint32_t first, std::uint32_t second) {
    asm volatile(
        "{ .reg .b32 place, done; mapa.shared::cluster.u32 place, %0, %2;\n"
        "mapa.shared::cluster.u32 done, %1, %2;\n"
        "st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [place], {%3, %4}, [done]; "
        "}" ::"r"(shared_address(at)),
        "r"(shared_address(barrier)), "r"(rank), "r"(first), "r"(second)
        : "memory");
}

__device__ __forceinline__ void store_remote(void* at, Barrier* barrier, std::uint32_t rank,
                                             const uint4& values) {
    asm volatile(
        "{ .reg .b32 place, done; mapa.shared::cluster.u32 place, %0, %2;\n"
        "mapa.shared::cluster.u32 done, %1, %2;\n"
        "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [place], {%3, %4, %5, %6},"
        " [done]; }" ::"r"(shared_address(at)),
        "r"(shared_address(barrier)), "r"(rank), "r"(values.x), "r"(values.y), "r"(values.z),
        "r"(values.w)
        : "memory");
}

}  // namespace holdfast::cuda
