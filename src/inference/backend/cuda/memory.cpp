#include "inference/backend/cuda/memory.h"

#include <cuda_runtime_api.h>

#include "common/base/assert.h"
#include "inference/backend/cuda/call.h"

namespace holdfast::cuda {

DeviceMemory::~DeviceMemory() {
    // A context that an error has ended frees everything itself.
    if (data_ != nullptr) static_cast<void>(cudaFree(data_));
}

base::Result<DeviceMemory> DeviceMemory::reserve(std::size_t bytes) {
    DeviceMemory memory;
    if (bytes == 0) return memory;
    if (cudaMalloc(&memory.data_, bytes) == cudaErrorMemoryAllocation) {
        static_cast<void>(cudaGetLastError());  // not an error of the context
        std::size_t free = 0, total = 0;
        HF_TRY(succeeded(cudaMemGetInfo(&free, &total), "asking for free memory"));
        return base::fail(base::Code::overloaded,
                          "device memory: {} MB asked for, {} MB of {} MB free", bytes >> 20,
                          free >> 20, total >> 20);
    }
    HF_TRY(launched("reserving device memory"));
    memory.bytes_ = bytes;
    HF_TRY(memory.fill(0));
    return memory;
}

base::Result<> DeviceMemory::write(std::size_t offset, std::span<const std::byte> bytes) {
    HF_ASSERT(offset <= bytes_ && bytes.size() <= bytes_ - offset);
    return succeeded(cudaMemcpy(static_cast<std::byte*>(data_) + offset, bytes.data(), bytes.size(),
                                cudaMemcpyHostToDevice),
                     "writing device memory");
}

base::Result<> DeviceMemory::read(std::size_t offset, std::span<std::byte> bytes) const {
    HF_ASSERT(offset <= bytes_ && bytes.size() <= bytes_ - offset);
    return succeeded(cudaMemcpy(bytes.data(), static_cast<const std::byte*>(data_) + offset,
                                bytes.size(), cudaMemcpyDeviceToHost),
                     "reading device memory");
}

base::Result<> DeviceMemory::write_later(std::span<const std::byte> pinned) {
    HF_ASSERT(pinned.size() <= bytes_);
    return succeeded(cudaMemcpyAsync(data_, pinned.data(), pinned.size(), cudaMemcpyHostToDevice),
                     "writing device memory");
}

base::Result<> DeviceMemory::read_later(std::span<std::byte> pinned) const {
    HF_ASSERT(pinned.size() <= bytes_);
    return succeeded(cudaMemcpyAsync(pinned.data(), data_, pinned.size(), cudaMemcpyDeviceToHost),
                     "reading device memory");
}

base::Result<> DeviceMemory::fill(std::uint8_t value) {
    if (bytes_ == 0) return {};
    HF_TRY(succeeded(cudaMemset(data_, value, bytes_), "filling device memory"));
    return succeeded(cudaDeviceSynchronize(), "filling device memory");
}

PinnedMemory::~PinnedMemory() {
    if (data_ != nullptr) static_cast<void>(cudaFreeHost(data_));
}

base::Result<PinnedMemory> PinnedMemory::reserve(std::size_t bytes) {
    PinnedMemory memory;
    HF_TRY(succeeded(cudaMallocHost(&memory.data_, bytes), "reserving pinned memory"));
    memory.bytes_ = bytes;
    return memory;
}

}  // namespace holdfast::cuda
