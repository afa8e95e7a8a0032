// How fast this machine reads memory: the limit of decoding.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/base/error.h"
#include "common/cores/pool.h"
#include "inference/backend/cpu/memory.h"

namespace holdfast::perf {

// All threads sum a buffer that is larger than the caches. One thread calls.
class Bandwidth {
public:
    // Errors: unavailable, when there is no memory for the buffer or there are no threads.
    [[nodiscard]] static base::Result<Bandwidth> make(std::uint32_t threads,
                                                      cores::Placement placement = {});

    // Bytes per second of one pass over the buffer, which takes some hundredths of a second.
    double pass();

private:
    Bandwidth(std::unique_ptr<cores::Pool> pool, cpu::Memory memory);
    std::uint64_t sum(std::uint32_t part) const;

    std::unique_ptr<cores::Pool> pool_;
    cpu::Memory memory_;
    std::vector<std::uint64_t> sums_;  // so that the reading cannot be left out
};

// The median of several passes: about half a second. Errors as make().
[[nodiscard]] base::Result<double> read_bandwidth(std::uint32_t threads);

}  // namespace holdfast::perf
