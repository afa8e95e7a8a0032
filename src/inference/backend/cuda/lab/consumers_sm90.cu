// One decode step without attention: every weight of the 1.5B shape streams through a ring in
// shared memory and is eaten by tensor cores, with or without waiting for everybody between phases.
#include "inference/backend/cuda/copy.cuh"
#include "inference/backend/cuda/exact.cuh"
#include "inference/backend/cuda/exchange.cuh"
#include "inference/backend/cuda/lab/lab.cuh"
#include "inference/backend/cuda/lab/lab.h"
#include "inference/backend/cuda/layout.h"
#include "inference/backend/cuda/mma.cuh"
#include "inference/backend/cuda/wgmma.cuh"

namespace holdfast::cuda::lab {
namespace {

constexpr std::uint32_t slots_max = 24, hidden = 1536, layers = 28, groups_max = 4;
constexpr std::uint32_t x_blocks = hidden / block_k;
constexpr std::uint32_t shared_max = 224 << 10;

enum class Wait { alone, stream, counter, words };  // alone: no stream at all

struct Step {
    const std::uint8_t* data;
    std::size_t share;  // bytes of each block
    Wait wait;
    std::uint32_t slots;   // of the ring
    std::uint32_t flight;  // copies that may be under way at the same time
    Stuck* stuck;
    std::uint32_t steps;
    std::uint64_t* words;
    std::uint32_t* counter;
    float* out;
};

// Slots that a block eats between two waits: of a layer's queries and keys, attention (none),
// attention output, gate and up, down; and of the head.
struct Phases {
    std::uint32_t qkv, attention, output, gate_up, down, head;

    __host__ __device__ constexpr std::uint32_t step() const {
        return layers * (qkv + attention + output + gate_up + down) + head;
    }
};

// --- Kinds of weights: a slot holds `blocks` blocks of 64 x 64
// ------------------------------------

template <int columns>
struct Shared16 {
    static constexpr std::uint32_t n = columns, blocks = 3, bytes = block_bytes, warps = 4;
    static constexpr Phases phases{2, 0, 2, 17, 9, 144};
    using Sums = float[columns / 2];

    __device__ static void eat(Sums& d, std::uint32_t slot, std::uint32_t x, std::uint32_t k) {
        keep(d);
        wgmma_fence();
#pragma unroll
        for (std::uint32_t i = 0; i < blocks * 4; ++i)
            Wgmma<columns>::ss_bf16(d, operand(slot + i / 4 * bytes, i % 4),
                                    operand(x + (k + i / 4) % x_blocks * columns * 128, i % 4));
        wgmma_commit();
        wgmma_wait<0>();
        keep(d);
    }
};

// A warp eats `rows` of the 64 rows of a block, so that an operand of x that it has loaded serves
// more.
template <std::uint32_t blocks_of_slot, std::uint32_t rows>
struct Warps16 {
    static constexpr std::uint32_t n = 8, blocks = blocks_of_slot, bytes = block_bytes;
    static constexpr std::uint32_t warps = 64 / rows;
    static constexpr Phases phases =
        blocks == 1 ? Phases{6, 0, 5, 51, 26, 432} : Phases{2, 0, 2, 17, 9, 144};
    using Sums = float[rows / 4];

    __device__ static void eat(Sums& d, std::uint32_t slot, std::uint32_t x, std::uint32_t k) {
        const std::uint32_t lane = threadIdx.x % 32,
                            row = threadIdx.x / 32 % warps * rows + lane % 16;
#pragma unroll
        for (std::uint32_t block = 0; block < blocks; ++block) {
            const std::uint32_t of_x = x + (k + block) % x_blocks * 1024;
            std::uint32_t b[2][4];
#pragma unroll
            for (std::uint32_t half = 0; half < 2; ++half)
                load_matrices(b[half], of_x + swizzled(lane % 8, half * 32 + lane / 8 * 8));
#pragma unroll
            for (std::uint32_t step = 0; step < 4; ++step)
#pragma unroll
                for (std::uint32_t m = 0; m < rows / 16; ++m) {
                    std::uint32_t a[4];
                    load_matrices(a, slot + block * bytes +
                                         swizzled(row + m * 16, step * 16 + lane / 16 * 8));
                    float(&sums)[4] = *reinterpret_cast<float(*)[4]>(d + 4 * m);
                    mma_bf16(sums, a, {b[step / 2][step % 2 * 2], b[step / 2][step % 2 * 2 + 1]});
                }
        }
    }
};

// Weights of 8 or 4 bits, as fragments of their thread: 16 bytes hold 2 or 4 steps. Behind them a
// float16 scale of each row and 32 inputs.
template <int bits>
struct Quantized {
    static constexpr std::uint32_t n = 8, blocks = 5, bytes = 512 * bits + 256, warps = 4;
    static constexpr Phases phases{1, 0, 1, 10, 5, 86};
    using Sums = float[4];
    using Fragments = std::uint32_t[4][4];

    __device__ static void unpack(Fragments& a, std::uint32_t block) {
        const std::uint32_t thread = threadIdx.x % 128;
        std::uint32_t scales[2];  // of rows g and g + 8, two halves of the block each
        asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];"
                     : "=r"(scales[0]), "=r"(scales[1])
                     : "r"(block + 512 * bits + thread / 4 * 8));
        std::uint32_t q[bits];
#pragma unroll
        for (std::uint32_t i = 0; i < bits / 4; ++i)
            asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                         : "=r"(q[4 * i]), "=r"(q[4 * i + 1]), "=r"(q[4 * i + 2]),
                           "=r"(q[4 * i + 3])
                         : "r"(block + i * 2048 + thread * 16));
#pragma unroll
        for (std::uint32_t step = 0; step < 4; ++step) {
            const std::uint32_t low = spread_half(scales[0], step / 2),
                                high = spread_half(scales[1], step / 2);
            if constexpr (bits == 8)
                unpack_8(a[step], q[step * 2], q[step * 2 + 1], low, high);
            else
                unpack_4(a[step], q[step], low, high);
        }
    }

    __device__ static void issue(Sums& d, const Fragments& a, std::uint32_t x) {
        keep(d);
        wgmma_fence();
#pragma unroll
        for (std::uint32_t step = 0; step < 4; ++step)
            Wgmma<8>::rs_f16(d, a[step], operand(x, step));
        wgmma_commit();
    }

    // Unpacks a block while the one before it is multiplied.
    __device__ static void eat(Sums& d, std::uint32_t slot, std::uint32_t x, std::uint32_t k) {
        Fragments even, odd;
        unpack(even, slot);
#pragma unroll
        for (std::uint32_t i = 0; i < blocks; ++i) {
            issue(d, i % 2 == 0 ? even : odd, x + (k + i) % x_blocks * 1024);
            if (i + 1 < blocks) {
                if (i > 0) wgmma_wait<1>();
                unpack(i % 2 == 0 ? odd : even, slot + (i + 1) * bytes);
            }
        }
        wgmma_wait<0>();
        keep(d);
    }
};

// --- The step
// --------------------------------------------------------------------------------------

template <class Kind>
__device__ void produce(const Step& s, std::uint8_t* ring, Barrier* full, Barrier* empty) {
    constexpr std::uint32_t slot_bytes = Kind::blocks * Kind::bytes;
    constexpr std::uint32_t slots = Kind::phases.step();
    const std::uint64_t policy = policy_evict_first();
    RingPosition at, oldest;
    std::uint32_t under_way = 0;
    for (std::uint32_t step = 0; step < s.steps; ++step)
        for (std::uint32_t i = 0; i < slots; ++i, at.advance(s.slots)) {
            if (under_way == s.flight) {
                barrier_wait(&full[oldest.slot], oldest.parity);
                oldest.advance(s.slots);
                --under_way;
            }
            barrier_wait(&empty[at.slot], at.parity ^ 1);
            barrier_expect(&full[at.slot], slot_bytes);
            bulk_copy(ring + at.slot * slot_bytes,
                      s.data + blockIdx.x * s.share + std::size_t{i} * slot_bytes, slot_bytes,
                      &full[at.slot], policy);
            ++under_way;
        }
}

// Hands 1,536 values to everybody: each block writes its own, everybody reads all, as bf16 operand.
template <class Kind>
__device__ void boundary(const Step& s, std::uint8_t* x, std::uint32_t number, float value) {
    // Every block writes some: one that nobody waits for may be overtaken, and then waits for ever.
    const std::uint32_t workers = blockDim.x - 32;
    const std::uint32_t mine = blockIdx.x * hidden / gridDim.x + threadIdx.x;
    const bool writes = mine < (blockIdx.x + 1) * hidden / gridDim.x;
    std::uint64_t* words = s.words + number % 2 * std::size_t{hidden};
    const auto keep_pair = [&](std::uint32_t k, float first, float second) {
        *reinterpret_cast<std::uint32_t*>(x + k / block_k * Kind::n * 128 +
                                          swizzled(0, k % block_k)) = pack_bf16(first, second);
    };
    named_barrier(1, workers);
    if (s.wait == Wait::words) {
        if (writes) store_word(words + mine, __float_as_uint(value), number);
        for (std::uint32_t k = threadIdx.x * 2; k < hidden; k += workers * 2) {
            const WordPair pair = poll_words(words + k, number, s.stuck);
            keep_pair(k, __uint_as_float(pair.first.value), __uint_as_float(pair.second.value));
        }
    } else {
        auto* values = reinterpret_cast<float*>(words);
        if (writes) __stcg(values + mine, value);
        named_barrier(1, workers);
        if (threadIdx.x == 0) {
            asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(s.counter) : "memory");
            Patience patience;
            std::uint32_t seen;
            do {
                asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                             : "=r"(seen)
                             : "l"(s.counter)
                             : "memory");
                patience.tried(number * gridDim.x, seen, s.stuck);
            } while (seen < number * gridDim.x);
        }
        named_barrier(1, workers);
        for (std::uint32_t k = threadIdx.x * 2; k < hidden; k += workers * 2) {
            const float2 pair = __ldcg(reinterpret_cast<const float2*>(values + k));
            keep_pair(k, pair.x, pair.y);
        }
    }
    fence_async_shared();
    named_barrier(1, workers);
}

template <class Kind>
class Consumer {
public:
    __device__ Consumer(const Step& s, std::uint8_t* ring, std::uint8_t* x, Barrier* full,
                        Barrier* empty)
        : s_(s), ring_(ring), x_(x), full_(full), empty_(empty) {}

    __device__ void run() {
        std::uint32_t number = 0;
        for (std::uint32_t step = 0; step < s_.steps; ++step) {
            for (std::uint32_t layer = 0; layer < layers; ++layer) {
                phase(Kind::phases.qkv, ++number);
                phase(Kind::phases.attention, ++number);
                phase(Kind::phases.output, ++number);
                phase(Kind::phases.gate_up, ++number);
                phase(Kind::phases.down, ++number);
            }
            phase(Kind::phases.head, ++number);
        }
    }

private:
    __device__ void phase(std::uint32_t slots, std::uint32_t number) {
        if (s_.wait == Wait::counter || s_.wait == Wait::words)
            boundary<Kind>(s_, x_, number, last_ * 0x1p-20F);
        const std::uint32_t groups = (blockDim.x - 32) / (32 * Kind::warps);
        const std::uint32_t group = threadIdx.x / (32 * Kind::warps);
        typename Kind::Sums d = {};
        std::uint32_t eaten = 0;
        for (std::uint32_t i = 0; i < slots; ++i, at_.advance(s_.slots)) {
            // Also for the slots of others: a parity tells only neighbouring rounds of the ring
            // apart, so nobody may look at a slot before its last round has come.
            if (s_.wait != Wait::alone) barrier_wait(&full_[at_.slot], at_.parity);
            if (i % groups != group) continue;
            Kind::eat(d, shared_address(ring_ + at_.slot * Kind::blocks * Kind::bytes),
                      shared_address(x_), eaten * Kind::blocks);
            if (s_.wait != Wait::alone && threadIdx.x % 32 == 0) barrier_arrive(&empty_[at_.slot]);
            if (++eaten * Kind::blocks % x_blocks == 0) hand_on(d);
        }
        if (eaten * Kind::blocks % x_blocks != 0) hand_on(d);
    }

    __device__ void hand_on(typename Kind::Sums& d) {
        last_ = d[0];
        if (threadIdx.x % 4 == 0) {
            __stcg(s_.out + blockIdx.x * 1024 + threadIdx.x / 4 * 2, d[0]);
            __stcg(s_.out + blockIdx.x * 1024 + threadIdx.x / 4 * 2 + 1, d[2]);
        }
#pragma unroll
        for (float& sum : d) sum = 0;
    }

    const Step& s_;
    std::uint8_t* ring_;
    std::uint8_t* x_;
    Barrier* full_;
    Barrier* empty_;
    RingPosition at_;
    float last_ = 1;
};

template <class Kind>
__global__ void __launch_bounds__(32 + 128 * groups_max, 1) step_kernel(Step s) {
    extern __shared__ __align__(1024) std::uint8_t shared[];
    __shared__ Barrier full[slots_max], empty[slots_max];
    std::uint8_t* x = shared;
    std::uint8_t* ring = shared + x_blocks * Kind::n * 128;
    for (std::uint32_t i = threadIdx.x * 4; i < shared_max - 1024; i += blockDim.x * 4)
        *reinterpret_cast<std::uint32_t*>(shared + i) = 0x3c003c00;
    if (threadIdx.x == 0) {
        for (std::uint32_t i = 0; i < s.slots; ++i) {
            barrier_init(&full[i], 1);
            barrier_init(&empty[i], Kind::warps);
        }
        fence_barrier_init();
    }
    fence_async_shared();
    __syncthreads();
    if (threadIdx.x >= blockDim.x - 32) {
        if (threadIdx.x == blockDim.x - 32 && s.wait != Wait::alone)
            produce<Kind>(s, ring, full, empty);
        return;
    }
    Consumer<Kind>(s, ring, x, full, empty).run();
}

template <class Kind>
void measure(const char* name, const Memory& memory, Memory& words) {
    allow_shared_memory(step_kernel<Kind>, shared_max - 1024);
    constexpr std::uint32_t slot_bytes = Kind::blocks * Kind::bytes;
    constexpr std::uint32_t slots = Kind::phases.step();
    const int blocks = multiprocessors();
    const double bytes = double(slots) * slot_bytes * blocks;
    Step s{};
    s.data = memory.as();
    s.share = std::size_t{slots} * slot_bytes;
    if (s.share * blocks > memory.bytes()) check(cudaErrorInvalidValue, "too little memory");
    s.slots = std::min((shared_max - 1024 - x_blocks * Kind::n * 128) / slot_bytes, slots_max);
    s.steps = 4;
    s.words = words.as<std::uint64_t>();
    s.counter = reinterpret_cast<std::uint32_t*>(words.as() + 2 * hidden * 8);
    s.out = reinterpret_cast<float*>(words.as() + (1 << 16));
    constexpr const char* waits[] = {"no stream", "stream", "5 counters a layer",
                                     "5 exchanges a layer"};
    s.stuck = stuck();
    for (const Wait wait : {Wait::alone, Wait::stream, Wait::counter, Wait::words})
        for (const std::uint32_t warps : {4u, 8u, 16u})
            for (const std::uint32_t flight_kb : {24u, 48u, 96u, 200u}) {
                const bool waiting = wait == Wait::words && warps == 16;
                if (flight_kb != 200 && (!waiting || flight_kb * 1024 < slot_bytes)) continue;
                s.wait = wait;
                s.flight = std::min(flight_kb * 1024 / slot_bytes, s.slots);
                const float us =
                    median_us([&] {
                        check(cudaMemsetAsync(words.as(), 0, 1 << 16), "clear");
                        step_kernel<Kind><<<blocks, 32 + 32 * warps, shared_max - 1024>>>(s);
                    }) /
                    s.steps;
                std::printf(
                    "  %-31s %2u warps, %-20s %3u KB in flight %7.1f us a step, %6.2f MB/us\n",
                    name, warps, waits[static_cast<int>(wait)], s.flight * slot_bytes >> 10, us,
                    bytes / us / 1e6);
            }
}

}  // namespace

void consumers() {
    const Memory memory(std::size_t{3250} << 20);
    Memory words(1 << 22);
    measure<Shared16<8>>("bf16 wgmma", memory, words);
    measure<Warps16<3, 16>>("bf16 mma.sync, 16 rows a warp", memory, words);
    measure<Warps16<1, 64>>("slots of 8 KB, 64 rows a warp", memory, words);
    measure<Quantized<8>>("8 bits wgmma", memory, words);
    measure<Quantized<4>>("4 bits wgmma", memory, words);
}

}  // namespace holdfast::cuda::lab
