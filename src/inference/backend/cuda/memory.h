// Memory of the device and pinned memory of the host, each a reservation that lives as long as its
// object. Made before an instance is ready; nothing is reserved after.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "common/base/error.h"

namespace holdfast::cuda {

// Owned by one thread. Every byte is 0 at first.
class DeviceMemory {
public:
    DeviceMemory() = default;
    DeviceMemory(DeviceMemory&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    DeviceMemory& operator=(DeviceMemory&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~DeviceMemory();

    // overloaded, with what was asked for and what is free, if there is not so much.
    static base::Result<DeviceMemory> reserve(std::size_t bytes);

    void* data() const { return data_; }
    std::size_t bytes() const { return bytes_; }

    // Both wait until the copy is done. `offset` + size must lie within.
    base::Result<> write(std::size_t offset, std::span<const std::byte> bytes);
    base::Result<> read(std::size_t offset, std::span<std::byte> bytes) const;
    // Sets every byte.
    base::Result<> fill(std::uint8_t value);

private:
    void* data_ = nullptr;
    std::size_t bytes_ = 0;
};

}  // namespace holdfast::cuda
