// What the experiments share: checked calls, a clock, memory full of plausible weights.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

#include "inference/backend/cuda/exact.cuh"
#include "inference/backend/cuda/exchange.cuh"

namespace holdfast::cuda::lab {

// Where a kernel that gave up says why. Mapped once, for the whole run.
inline Stuck* stuck() {
    static Stuck* place = [] {
        void* memory = nullptr;
        if (cudaHostAlloc(&memory, sizeof(Stuck), cudaHostAllocMapped) != cudaSuccess) std::exit(1);
        return new (memory) Stuck{};
    }();
    return place;
}

// An experiment that fails has nothing to clean up: the program ends.
inline void check(cudaError_t status, const char* what) {
    if (status == cudaSuccess) return;
    std::printf("%s: %s\n", what, cudaGetErrorString(status));
    if (const Stuck* s = stuck(); s->waiting != 0)
        std::printf("block %u, thread %u waited for %u and saw %u\n", s->block, s->thread,
                    s->wanted, s->seen);
    std::exit(1);
}

inline int multiprocessors() {
    int count = 0;
    check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, 0), "multiprocessors");
    return count;
}

template <class Kernel>
void allow_shared_memory(Kernel* kernel, std::uint32_t bytes) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(bytes)),
          "shared memory");
}

// Microseconds that the device spends on `launch`: the median of `rounds`, after one to warm up.
template <class Launch>
float median_us(Launch launch, int rounds = 7) {
    cudaEvent_t begin, end;
    check(cudaEventCreate(&begin), "event");
    check(cudaEventCreate(&end), "event");
    std::vector<float> times;
    for (int round = 0; round <= rounds; ++round) {
        check(cudaEventRecord(begin), "record");
        launch();
        check(cudaGetLastError(), "launch");
        check(cudaEventRecord(end), "record");
        check(cudaEventSynchronize(end), "run");
        float ms = 0;
        check(cudaEventElapsedTime(&ms, begin, end), "elapsed");
        if (round > 0) times.push_back(ms * 1000);
    }
    check(cudaEventDestroy(begin), "event");
    check(cudaEventDestroy(end), "event");
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

// Pairs of bf16 evenly distributed in [-1, 1): constant bits would cost less power than real
// weights.
static __global__ void fill_with_weights(std::uint32_t* words, std::size_t count) {
    for (std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x; i < count;
         i += std::size_t{gridDim.x} * blockDim.x) {
        std::uint32_t bits = static_cast<std::uint32_t>(i * 0x9e3779b97f4a7c15 >> 32);
        bits = (bits ^ bits >> 15) * 0x85ebca6b;
        bits ^= bits >> 13;
        words[i] = pack_bf16(static_cast<std::int16_t>(bits) * 0x1p-15F,
                             static_cast<std::int16_t>(bits >> 16) * 0x1p-15F);
    }
}

// Freed at the end of the experiment.
class Memory {
public:
    explicit Memory(std::size_t bytes) : bytes_(bytes) {
        check(cudaMalloc(&data_, bytes), "memory");
        fill_with_weights<<<1024, 256>>>(static_cast<std::uint32_t*>(data_), bytes / 4);
        check(cudaDeviceSynchronize(), "fill");
    }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory() { cudaFree(data_); }

    template <class T = std::uint8_t>
    T* as() const {
        return static_cast<T*>(data_);
    }
    std::size_t bytes() const { return bytes_; }
    void clear() { check(cudaMemset(data_, 0, bytes_), "clear"); }

private:
    void* data_ = nullptr;
    std::size_t bytes_;
};

}  // namespace holdfast::cuda::lab
