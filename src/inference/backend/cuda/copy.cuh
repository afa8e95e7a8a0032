// Barriers of shared memory and the bulk copies that complete on them (Hopper), one instruction in
// one function each. Names follow the PTX manual.
#pragma once

#include <cstdint>

namespace holdfast::cuda {

__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

using Barrier = std::uint64_t;

__device__ __forceinline__ void barrier_init(Barrier* barrier, std::uint32_t arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
                 "r"(arrivals)
                 : "memory");
}

// Makes initialized barriers visible to the copy engine and to the other blocks of a cluster.
__device__ __forceinline__ void fence_barrier_init() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

// Ordinary writes to shared memory become visible to the tensor core's and copy engine's reads.
__device__ __forceinline__ void fence_async_shared() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void barrier_arrive(Barrier* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
                 : "memory");
}

__device__ __forceinline__ void barrier_expect(Barrier* barrier, std::uint32_t bytes) {
    asm volatile(
        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
        "r"(bytes)
        : "memory");
}

__device__ __forceinline__ bool barrier_try_wait(Barrier* barrier, std::uint32_t parity) {
    std::uint32_t done;
    asm volatile(
        "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p; }"
        : "=r"(done)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
    return done != 0;
}

// Until the phase of this parity has completed.
__device__ __forceinline__ void barrier_wait(Barrier* barrier, std::uint32_t parity) {
    while (!barrier_try_wait(barrier, parity)) {
    }
}

// A slot in a ring of barriers: after `slots` steps the parity turns.
struct RingPosition {
    std::uint32_t slot = 0, parity = 0;

    __device__ __forceinline__ void advance(std::uint32_t slots) {
        if (++slot == slots) {
            slot = 0;
            parity ^= 1;
        }
    }
};

// What the second-level cache shall do with a line that is read once.
__device__ __forceinline__ std::uint64_t policy_evict_first() {
    std::uint64_t policy;
    asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

// `bytes`, a multiple of 16, from global to shared memory; counted on `barrier`.
__device__ __forceinline__ void bulk_copy(void* shared, const void* global, std::uint32_t bytes,
                                          Barrier* barrier) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
            "r"(shared_address(shared)),
        "l"(global), "r"(bytes), "r"(shared_address(barrier))
        : "memory");
}

__device__ __forceinline__ void bulk_copy(void* shared, const void* global, std::uint32_t bytes,
                                          Barrier* barrier, std::uint64_t policy) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint"
        " [%0], [%1], %2, [%3], %4;" ::"r"(shared_address(shared)),
        "l"(global), "r"(bytes), "r"(shared_address(barrier)), "l"(policy)
        : "memory");
}

// From shared to global memory. `bulk_stored` waits until the thread's copies have read their
// source.
__device__ __forceinline__ void bulk_store(void* global, const void* shared, std::uint32_t bytes) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(global),
                 "r"(shared_address(shared)), "r"(bytes)
                 : "memory");
    asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

__device__ __forceinline__ void bulk_stored() {
    asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

// Programmatic launches: a kernel may begin when every block of the one before it has called
// `let_next_begin`, and sees what that one and all before it wrote when `wait_for_previous`
// returns. Until then it may read only what no kernel of the chain writes, and write nothing.
__device__ __forceinline__ void let_next_begin() {
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

__device__ __forceinline__ void wait_for_previous() {
    asm volatile("griddepcontrol.wait;" ::: "memory");
}

// A barrier among `threads` threads of a block, one of 16.
__device__ __forceinline__ void named_barrier(std::uint32_t id, std::uint32_t threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

}  // namespace holdfast::cuda
