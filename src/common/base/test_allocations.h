// For tests: replaces the program's operator new by one that counts. Included by one file of a
// program.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace holdfast::base::testing {

inline std::atomic<std::uint64_t> allocations{0};       // so far, on all threads
inline thread_local std::uint64_t own_allocations = 0;  // so far, on this one

inline void* count_and_allocate(std::size_t bytes, std::size_t alignment) {
    allocations.fetch_add(1, std::memory_order_relaxed);
    ++own_allocations;
    const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    if (void* const memory = std::aligned_alloc(alignment, rounded)) return memory;
    throw std::bad_alloc();
}

}  // namespace holdfast::base::testing

// NOLINTBEGIN(misc-definitions-in-headers): a replaced operator new may not be inline.
void* operator new(std::size_t bytes) {
    return holdfast::base::testing::count_and_allocate(bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return holdfast::base::testing::count_and_allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
// NOLINTEND(misc-definitions-in-headers)
