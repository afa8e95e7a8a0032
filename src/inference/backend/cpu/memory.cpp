#include "inference/backend/cpu/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <limits>
#include <string>
#include <system_error>

namespace holdfast::cpu {
namespace {

constexpr std::size_t huge_page_bytes = std::size_t{2} << 20;

std::size_t round_up(std::size_t value, std::size_t step) {
    return (value + step - 1) / step * step;
}

bool back_with_pages(std::byte* start, std::size_t bytes) {
#ifdef MADV_POPULATE_WRITE
    if (::madvise(start, bytes, MADV_POPULATE_WRITE) == 0) return true;
    if (errno != EINVAL) return false;  // EINVAL: a kernel older than 5.14
#endif
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    for (std::size_t i = 0; i < bytes; i += page)
        static_cast<volatile std::byte*>(start)[i] = std::byte{0};
    return true;
}

// The kernel clears every page, which takes longer than reading the weights that go there: all
// threads share it, in the order in which they share tasks.
bool back_with_pool(std::byte* start, std::size_t bytes, cores::Pool& pool) {
    const auto parts = static_cast<std::uint32_t>((bytes + huge_page_bytes - 1) / huge_page_bytes);
    std::atomic<int> failure{0};
    pool.run(parts, bytes, [&](std::uint32_t part) {
        const std::size_t begin = part * huge_page_bytes;
        if (!back_with_pages(start + begin, std::min(huge_page_bytes, bytes - begin)))
            failure = errno;
    });
    errno = failure;
    return failure == 0;
}

}  // namespace

std::size_t Memory::backed_bytes(std::size_t bytes) {
    return round_up(bytes, bytes >= huge_page_bytes ? huge_page_bytes : 4'096);
}

base::Result<Memory> Memory::reserve(std::size_t bytes, std::string_view purpose,
                                     cores::Pool* pool) {
    if (bytes == 0) return Memory();
    const std::size_t rounded = backed_bytes(bytes);
    void* const start =
        ::mmap(nullptr, rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const auto refuse = [&] {
        return base::fail(base::Code::unavailable, "cannot reserve {} MiB of memory for {}: {}",
                          rounded >> 20, purpose, std::generic_category().message(errno));
    };
    if (start == MAP_FAILED) return refuse();
    Memory memory({static_cast<std::byte*>(start), rounded});
    ::madvise(start, rounded, MADV_HUGEPAGE);  // only advice: small pages work too
    const bool backed = pool != nullptr ? back_with_pool(memory.data(), rounded, *pool)
                                        : back_with_pages(memory.data(), rounded);
    if (!backed) return refuse();
    return memory;
}

Memory::~Memory() {
    if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

base::Result<Floats> Floats::reserve(std::size_t count, std::string_view purpose,
                                     cores::Pool* pool) {
    Floats floats;
    HF_TRY_ASSIGN(floats.memory_, Memory::reserve(count * sizeof(float), purpose, pool));
    floats.count_ = count;
    return floats;
}

std::size_t available_memory_bytes() {
    std::size_t available = std::numeric_limits<std::size_t>::max();
    std::ifstream info("/proc/meminfo");
    std::string line;
    while (std::getline(info, line))
        if (line.starts_with("MemAvailable:"))
            available = std::strtoull(line.c_str() + sizeof "MemAvailable:" - 1, nullptr, 10) << 10;
    std::ifstream limit("/sys/fs/cgroup/memory.max");  // holds "max" when there is none
    std::size_t group_bytes = 0;
    if (limit >> group_bytes) available = std::min(available, group_bytes);
    return available;
}

}  // namespace holdfast::cpu
