#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include "common/base/error.h"
#include "common/cores/pool.h"

namespace holdfast::cpu {

// Page-aligned, zeroed memory that is there: every page is backed when reserve() returns, with huge
// pages where the system has them. Freed with the object.
class Memory {
public:
    Memory() = default;
    // With a pool, each of its threads backs its own share, as it will have its own share of the
    // tasks that use the memory: on machines with several memories a page lies at the thread that
    // touched it first. Errors: unavailable, naming `purpose` and the size.
    [[nodiscard]] static base::Result<Memory> reserve(std::size_t bytes, std::string_view purpose,
                                                      cores::Pool* pool = nullptr);

    // What reserve(bytes) takes, in whole pages.
    static std::size_t backed_bytes(std::size_t bytes);

    Memory(Memory&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
    Memory& operator=(Memory&& other) noexcept {
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~Memory();

    std::byte* data() const { return bytes_.data(); }
    std::size_t size() const { return bytes_.size(); }

private:
    explicit Memory(std::span<std::byte> bytes) : bytes_(bytes) {}
    std::span<std::byte> bytes_;
};

// A fixed number of floats in such memory.
class Floats {
public:
    Floats() = default;
    [[nodiscard]] static base::Result<Floats> reserve(std::size_t count, std::string_view purpose,
                                                      cores::Pool* pool = nullptr);
    float* data() const { return reinterpret_cast<float*>(memory_.data()); }
    std::size_t size() const { return count_; }

private:
    Memory memory_;
    std::size_t count_ = 0;
};

// Bytes that this process could still back with memory, as far as the system tells: the smaller of
// what the kernel calls available and the limit of the control group.
std::size_t available_memory_bytes();

}  // namespace holdfast::cpu
