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
    // The same from and to pinned memory, behind everything launched before; whoever needs the
    // bytes waits for the device.
    base::Result<> write_later(std::span<const std::byte> pinned);
    base::Result<> read_later(std::span<std::byte> pinned) const;
    // Sets every byte.
    base::Result<> fill(std::uint8_t value);

private:
    void* data_ = nullptr;
    std::size_t bytes_ = 0;
};

// Memory of the host that the device copies to and from by itself, without a detour.
class PinnedMemory {
public:
    PinnedMemory() = default;
    PinnedMemory(PinnedMemory&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    PinnedMemory& operator=(PinnedMemory&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~PinnedMemory();

    static base::Result<PinnedMemory> reserve(std::size_t bytes);

    // The first `count` values.
    template <class T>
    std::span<T> values(std::size_t count) const {
        return {static_cast<T*>(data_), count};
    }
    std::size_t bytes() const { return bytes_; }

private:
    void* data_ = nullptr;
    std::size_t bytes_ = 0;
};

}  // namespace holdfast::cuda
