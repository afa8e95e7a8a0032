#include "inference/backend/cpu/bandwidth.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "common/base/stopwatch.h"

namespace holdfast::cpu {
namespace {

constexpr std::uint32_t parts = 64;
constexpr std::size_t part_step_bytes = 32 * sizeof(std::uint64_t);

// Several times the last cache, and at least what takes a while to read.
std::size_t buffer_bytes() {
    const long cache = ::sysconf(_SC_LEVEL3_CACHE_SIZE);
    const std::size_t wanted =
        std::max(std::size_t{512} << 20, 4 * static_cast<std::size_t>(std::max(0L, cache)));
    const std::size_t step = parts * part_step_bytes;
    return std::clamp(available_memory_bytes() / 4, step, wanted) / step * step;
}

}  // namespace

Bandwidth::Bandwidth(cores::Pool& pool, Memory memory)
    : pool_(&pool), memory_(std::move(memory)), sums_(parts) {}

base::Result<Bandwidth> Bandwidth::make(cores::Pool& pool) {
    HF_TRY_ASSIGN(auto memory, Memory::reserve(buffer_bytes(), "measuring the bandwidth", &pool));
    return Bandwidth(pool, std::move(memory));
}

double Bandwidth::pass() {
    const std::size_t bytes = memory_.size() / (parts * part_step_bytes) * parts * part_step_bytes;
    const double seconds = base::seconds_of(
        [&] { pool_->run(parts, bytes, [&](std::uint32_t part) { sums_[part] += sum(part); }); });
    return static_cast<double>(bytes) / seconds;
}

std::uint64_t Bandwidth::sum(std::uint32_t part) const {
    const std::size_t words =
        memory_.size() / (parts * part_step_bytes) * part_step_bytes / sizeof(std::uint64_t);
    const auto* const from = reinterpret_cast<const std::uint64_t*>(memory_.data()) + part * words;
    std::uint64_t sums[32] = {};
    for (std::size_t i = 0; i < words; i += 32)
        for (std::size_t j = 0; j < 32; ++j) sums[j] += from[i + j];
    std::uint64_t all = 0;
    for (const std::uint64_t one : sums) all += one;
    return all;
}

}  // namespace holdfast::cpu
