// Threads that run numbered tasks. Which thread runs a task never matters to the result.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/cores/placement.h"

namespace holdfast::cores {

// A fixed set of threads; the one that calls run() is thread 0 and works too. One thread at a time
// may call run(). Each thread begins with its own contiguous share of the tasks, so that it streams
// through its part of the weights, and then helps the others: a thread that the system has put
// aside delays nobody, except by the one task it holds. Idle threads spin for some microseconds and
// then sleep. With a placement, thread i keeps to the i-th set of CPUs: so does the calling thread,
// from its first run() until release_caller() or the pool's end on the same thread.
class Pool {
public:
    [[nodiscard]] static base::Result<std::unique_ptr<Pool>> make(std::uint32_t threads,
                                                                  Placement placement = {});
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    std::uint32_t threads() const { return static_cast<std::uint32_t>(shares_.size()); }

    // Calls body(task) for every task in [0, tasks), returns when all are done. `operations` is the
    // work of all tasks together in multiply-adds, roughly: what is not worth waking a thread for
    // runs on the calling thread alone. `body` must not throw.
    template <class Body>
    void run(std::uint32_t tasks, std::uint64_t operations, const Body& body) {
        if (!placement_.empty() && caller_ != std::this_thread::get_id()) adopt_caller();
        const auto call = [](const void* context, std::uint32_t task) {
            (*static_cast<const Body*>(context))(task);
        };
        if (tasks <= 1 || threads() == 1 || operations < operations_shared_min)
            run_here(tasks, call, &body);
        else
            run_shared(tasks, call, &body);
    }

    // The calling thread, which has called run(), may run where it could before. To be called
    // before it starts threads of its own, which would inherit its place.
    void release_caller();

    // Tasks done since the pool was made. Any thread.
    std::uint64_t progress() const { return progress_.load(std::memory_order_relaxed); }

private:
    using Call = void (*)(const void* context, std::uint32_t task);

    // About 10 microseconds of arithmetic: sharing less gains less than waking a thread costs.
    static constexpr std::uint64_t operations_shared_min = 300'000;

    // A thread's share: the run's epoch in the upper half, the next task in the lower, so that a
    // claim by a thread that overslept the end of its run fails.
    struct alignas(64) Share {
        std::atomic<std::uint64_t> epoch_and_next{0};
        std::atomic<std::uint32_t> end{0};
    };

    Pool(std::uint32_t threads, Placement placement)
        : shares_(threads), placement_(std::move(placement)) {}
    void adopt_caller();
    void run_here(std::uint32_t tasks, Call call, const void* context);
    void run_shared(std::uint32_t tasks, Call call, const void* context);
    void work(std::uint32_t epoch, std::uint32_t thread);
    bool claim(Share& share, std::uint32_t epoch, std::uint32_t& task);
    void serve(std::uint32_t thread);

    std::vector<Share> shares_;
    Placement placement_;  // of each thread, or empty
    std::thread::id caller_;
    CpuSet caller_cpus_;  // that it could run on before
    std::atomic<Call> call_{nullptr};
    std::atomic<const void*> context_{nullptr};
    std::atomic<std::uint32_t> tasks_{0};
    alignas(64) std::atomic<std::uint32_t> epoch_{0};
    alignas(64) std::atomic<std::uint32_t> finished_{0};
    alignas(64) std::atomic<std::uint64_t> progress_{0};
    std::atomic<bool> stopping_{false};
    std::vector<std::thread> workers_;
};

}  // namespace holdfast::cores
