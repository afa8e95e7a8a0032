// Unpredictable numbers, many for one system call: every exchange needs several.
#pragma once

#include <sys/random.h>

#include <array>
#include <cstdint>
#include <utility>

#include "common/base/assert.h"
#include "common/base/random.h"

namespace holdfast::gateway {

// One thread. A number is forgotten as soon as it has been given out. A process that forks must not
// use the same pool on both sides; the gateway never forks.
class PooledEntropy final : public base::Entropy {
public:
    std::uint64_t next() override {
        if (left_ == 0) refill();
        return std::exchange(pool_[--left_], 0);
    }

private:
    // The kernel gives up to 256 bytes whole, without being interrupted (getrandom(2)).
    void refill() {
        HF_ASSERT(::getrandom(pool_.data(), sizeof pool_, 0) == sizeof pool_);
        left_ = pool_.size();
    }

    std::array<std::uint64_t, 32> pool_{};
    std::size_t left_ = 0;
};

}  // namespace holdfast::gateway
