#include "common/cores/pool.h"

#include <immintrin.h>

#include <system_error>

#include "common/base/assert.h"

namespace holdfast::cores {
namespace {

// About 40 microseconds: longer than the gap between two runs of one step, shorter than anything
// a person would call burning processor time.
constexpr int spins_max = 2'000;

// Waits until `value` differs from `old`: spinning first, then asleep.
std::uint32_t wait_while(const std::atomic<std::uint32_t>& value, std::uint32_t old) {
    for (int i = 0; i < spins_max; ++i) {
        const std::uint32_t now = value.load(std::memory_order_acquire);
        if (now != old) return now;
        _mm_pause();
    }
    value.wait(old, std::memory_order_acquire);
    return value.load(std::memory_order_acquire);
}

}  // namespace

base::Result<std::unique_ptr<Pool>> Pool::make(std::uint32_t threads, Placement placement) {
    if (threads == 0 || threads > 1'024)
        return base::fail(base::Code::invalid, "threads: {} is not in [1, 1024]", threads);
    HF_ASSERT(placement.empty() || placement.size() == threads);
    std::unique_ptr<Pool> pool(new Pool(threads, std::move(placement)));
    try {
        for (std::uint32_t i = 1; i < threads; ++i)
            pool->workers_.emplace_back([raw = pool.get(), i] { raw->serve(i); });
    } catch (const std::system_error& error) {
        return base::fail(base::Code::unavailable, "cannot start {} threads: {}", threads,
                          error.what());
    }
    return pool;
}

Pool::~Pool() {
    stopping_.store(true, std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    release_caller();
}

// What the system refuses is not done: the thread runs where it did.
void Pool::adopt_caller() {
    caller_ = std::this_thread::get_id();
    caller_cpus_ = thread_affinity();
    set_thread_affinity(placement_[0]);
}

void Pool::release_caller() {
    if (caller_ != std::this_thread::get_id()) return;
    set_thread_affinity(caller_cpus_);
    caller_ = {};
}

void Pool::run_here(std::uint32_t tasks, Call call, const void* context) {
    for (std::uint32_t task = 0; task < tasks; ++task) {
        call(context, task);
        progress_.fetch_add(1, std::memory_order_relaxed);
    }
}

void Pool::run_shared(std::uint32_t tasks, Call call, const void* context) {
    const std::uint32_t epoch = epoch_.load(std::memory_order_relaxed) + 1;
    call_.store(call, std::memory_order_relaxed);
    context_.store(context, std::memory_order_relaxed);
    tasks_.store(tasks, std::memory_order_relaxed);
    finished_.store(0, std::memory_order_relaxed);
    for (std::uint64_t i = 0; i < threads(); ++i) {
        // Closed first: a late thread of the previous run must not pair its epoch with the new end.
        Share& share = shares_[i];
        const std::uint64_t upper = std::uint64_t{epoch} << 32;
        share.epoch_and_next.store(upper | 0xffff'ffffU, std::memory_order_relaxed);
        share.end.store(static_cast<std::uint32_t>((i + 1) * tasks / threads()),
                        std::memory_order_release);
        share.epoch_and_next.store(upper | i * tasks / threads(), std::memory_order_release);
    }
    epoch_.store(epoch, std::memory_order_release);
    epoch_.notify_all();
    work(epoch, 0);
    std::uint32_t finished = finished_.load(std::memory_order_acquire);
    while (finished != tasks) finished = wait_while(finished_, finished);
}

// The job's fields are read before a claim and used after it. A claim succeeds only while its run
// has unclaimed tasks, and the next run's fields are written only when all tasks are finished, so
// the fields that a successful claimer read belong to its run.
void Pool::work(std::uint32_t epoch, std::uint32_t thread) {
    const Call call = call_.load(std::memory_order_relaxed);
    const void* const context = context_.load(std::memory_order_relaxed);
    const std::uint32_t tasks = tasks_.load(std::memory_order_relaxed);
    for (std::uint32_t i = 0; i < threads(); ++i) {
        Share& share = shares_[(thread + i) % threads()];
        std::uint32_t task = 0;
        while (claim(share, epoch, task)) {
            call(context, task);
            progress_.fetch_add(1, std::memory_order_relaxed);
            if (finished_.fetch_add(1, std::memory_order_acq_rel) + 1 == tasks)
                finished_.notify_one();
        }
    }
}

bool Pool::claim(Share& share, std::uint32_t epoch, std::uint32_t& task) {
    std::uint64_t state = share.epoch_and_next.load(std::memory_order_acquire);
    while (true) {
        task = static_cast<std::uint32_t>(state);
        if (state >> 32 != epoch || task >= share.end.load(std::memory_order_acquire)) return false;
        if (share.epoch_and_next.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel,
                                                       std::memory_order_acquire))
            return true;
    }
}

void Pool::serve(std::uint32_t thread) {
    if (!placement_.empty()) set_thread_affinity(placement_[thread]);
    std::uint32_t epoch = 0;
    while (true) {
        epoch = wait_while(epoch_, epoch);
        if (stopping_.load(std::memory_order_relaxed)) return;
        work(epoch, thread);
    }
}

}  // namespace holdfast::cores
