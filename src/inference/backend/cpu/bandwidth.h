// How fast this machine reads memory: the limit of decoding.
#pragma once

#include <cstdint>
#include <vector>

#include "common/base/error.h"
#include "common/cores/pool.h"
#include "inference/backend/cpu/memory.h"

namespace holdfast::cpu {

// All threads sum a buffer that is larger than the caches. One thread calls.
class Bandwidth {
public:
    // The pool must outlive it. Errors: unavailable, when there is no memory for the buffer.
    [[nodiscard]] static base::Result<Bandwidth> make(cores::Pool& pool);

    // Bytes per second of one pass over the buffer, which takes some hundredths of a second.
    double pass();

private:
    Bandwidth(cores::Pool& pool, Memory memory);
    std::uint64_t sum(std::uint32_t part) const;

    cores::Pool* pool_;
    Memory memory_;
    std::vector<std::uint64_t> sums_;  // so that the reading cannot be left out
};

}  // namespace holdfast::cpu
