#include "inference/backend/cuda/copy.cuh"
#include "inference/backend/cuda/lab/lab.cuh"
#include "inference/backend/cuda/lab/lab.h"

namespace holdfast::cuda::lab {
namespace {

constexpr std::uint32_t slots_max = 32;

enum class Order { contiguous, interleaved, scattered };

struct Stream {
    const std::uint8_t* data;
    std::uint32_t copies;  // of each block
    std::uint32_t copy_bytes, slots;
    std::uint32_t places;  // copies that fit into the data, rounded down to a power of two
    Order order;
    bool evict_first;
};

// The `i`th of `count` things, a power of two, in an order without a pattern: an odd multiplication
// and a shift are both reversible.
__device__ std::uint32_t shuffled(std::uint32_t i, std::uint32_t count) {
    for (int round = 0; round < 3; ++round) {
        i = i * 0x9e3779b1u + 0x7f4a7c15u & count - 1;
        i ^= i >> 7;
    }
    return i;
}

__device__ std::size_t place_of(const Stream& s, std::uint32_t i) {
    switch (s.order) {
        case Order::contiguous:
            return (std::size_t{blockIdx.x} * s.copies + i) * s.copy_bytes;
        case Order::interleaved:
            return (std::size_t{i} * gridDim.x + blockIdx.x) * s.copy_bytes;
        case Order::scattered:
            return std::size_t{shuffled(i * gridDim.x + blockIdx.x, s.places)} * s.copy_bytes;
    }
    return 0;
}

// One thread asks for copies, another frees their slots as they come: nothing but the stream.
__global__ void __launch_bounds__(64, 1) bulk_kernel(Stream s) {
    extern __shared__ __align__(1024) std::uint8_t ring[];
    __shared__ Barrier full[slots_max], empty[slots_max];
    if (threadIdx.x == 0) {
        for (std::uint32_t i = 0; i < s.slots; ++i) {
            barrier_init(&full[i], 1);
            barrier_init(&empty[i], 1);
        }
        fence_barrier_init();
    }
    __syncthreads();
    RingPosition at;
    if (threadIdx.x == 0) {
        const std::uint64_t policy = policy_evict_first();
        for (std::uint32_t i = 0; i < s.copies; ++i, at.advance(s.slots)) {
            barrier_wait(&empty[at.slot], at.parity ^ 1);
            barrier_expect(&full[at.slot], s.copy_bytes);
            std::uint8_t* slot = ring + at.slot * s.copy_bytes;
            const std::uint8_t* from = s.data + place_of(s, i);
            if (s.evict_first)
                bulk_copy(slot, from, s.copy_bytes, &full[at.slot], policy);
            else
                bulk_copy(slot, from, s.copy_bytes, &full[at.slot]);
        }
    } else if (threadIdx.x == 32) {
        for (std::uint32_t i = 0; i < s.copies; ++i, at.advance(s.slots)) {
            barrier_wait(&full[at.slot], at.parity);
            barrier_arrive(&empty[at.slot]);
        }
    }
}

// The same bytes by ordinary loads of 16 bytes, eight at a time.
__global__ void __launch_bounds__(512, 2)
    load_kernel(const uint4* data, std::size_t count, std::uint32_t* out) {
    std::uint32_t sum = 0;
    const std::size_t stride = std::size_t{gridDim.x} * blockDim.x;
    for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i + 7 * stride < count;
         i += 8 * stride) {
        uint4 v[8];
#pragma unroll
        for (int j = 0; j < 8; ++j)
            asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                         : "=r"(v[j].x), "=r"(v[j].y), "=r"(v[j].z), "=r"(v[j].w)
                         : "l"(data + i + j * stride));
#pragma unroll
        for (int j = 0; j < 8; ++j) sum += v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
    }
    if (sum == 0x12345678) *out = sum;
}

void print(const char* what, double bytes, float us) {
    std::printf("  %-64s %8.1f us %6.3f TB/s\n", what, us, bytes / us / 1e6);
}

void bulk(const Memory& memory, std::uint32_t copy_kb, std::uint32_t flight_kb, Order order,
          bool evict_first) {
    const int blocks = multiprocessors();
    Stream s{memory.as(), 0, copy_kb * 1024, flight_kb / copy_kb, 1, order, evict_first};
    while (std::size_t{2} * s.places * s.copy_bytes <= memory.bytes()) s.places *= 2;
    const std::size_t used =
        order == Order::scattered ? std::size_t{s.places} * s.copy_bytes : memory.bytes();
    s.copies = static_cast<std::uint32_t>(used / s.copy_bytes / blocks);
    const std::uint32_t shared = s.slots * s.copy_bytes;
    const float us = median_us([&] { bulk_kernel<<<blocks, 64, shared>>>(s); });
    char what[128];
    constexpr const char* names[] = {"contiguous", "interleaved", "scattered"};
    std::snprintf(what, sizeof what, "bulk copies of %u KB, %u KB in flight, %s%s", copy_kb,
                  s.slots * copy_kb, names[static_cast<int>(order)],
                  evict_first ? ", evict first" : "");
    print(what, double(s.copies) * s.copy_bytes * blocks, us);
}

}  // namespace

void streams() {
    const Memory memory(std::size_t{3} << 30);
    allow_shared_memory(bulk_kernel, 224 << 10);
    const int blocks = multiprocessors();
    const std::size_t count = memory.bytes() / 16;
    const float us = median_us([&] {
        load_kernel<<<2 * blocks, 512>>>(memory.as<uint4>(), count, memory.as<std::uint32_t>());
    });
    print("loads of 16 bytes, 1,024 threads a multiprocessor", double(memory.bytes()), us);
    for (const Order order : {Order::contiguous, Order::interleaved, Order::scattered})
        for (const std::uint32_t copy_kb : {8, 16, 48})
            for (const std::uint32_t flight_kb : {48, 96, 192})
                bulk(memory, copy_kb, flight_kb, order, true);
    for (const Order order : {Order::contiguous, Order::scattered})
        bulk(memory, 16, 192, order, false);
    for (const std::uint32_t copy_kb : {4, 32, 64})
        bulk(memory, copy_kb, 128, Order::scattered, true);
}

}  // namespace holdfast::cuda::lab
