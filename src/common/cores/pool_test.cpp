#include "common/cores/pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <barrier>
#include <numeric>
#include <thread>

namespace holdfast::cores {
namespace {

constexpr std::uint64_t worth_sharing = 1'000'000'000;

TEST(Pool, RunsEveryTaskOnceForAnyNumberOfThreadsAndTasks) {
    for (const std::uint32_t threads : {1, 2, 3, 8}) {
        auto pool = Pool::make(threads);
        ASSERT_TRUE(pool);
        EXPECT_EQ((*pool)->threads(), threads);
        for (const std::uint32_t tasks : {0, 1, 2, 3, 7, 8, 9, 1'000}) {
            std::vector<std::atomic<int>> runs(tasks);
            (*pool)->run(tasks, worth_sharing, [&](std::uint32_t task) { ++runs[task]; });
            for (const auto& count : runs) EXPECT_EQ(count, 1);
        }
    }
}

TEST(Pool, MakesTheWritesOfAllTasksVisibleToTheCaller) {
    auto pool = Pool::make(3);
    ASSERT_TRUE(pool);
    std::vector<std::uint32_t> values(64);  // plain memory on purpose
    for (std::uint32_t round = 1; round <= 20'000; ++round) {
        (*pool)->run(64, worth_sharing, [&](std::uint32_t task) { values[task] += task; });
        ASSERT_EQ(std::accumulate(values.begin(), values.end(), 0U), round * 63 * 64 / 2);
    }
}

TEST(Pool, RunsWhatIsNotWorthSharingOnTheCallingThreadInOrder) {
    auto pool = Pool::make(2);
    ASSERT_TRUE(pool);
    std::vector<std::uint32_t> order;
    (*pool)->run(5, 10, [&](std::uint32_t task) { order.push_back(task); });
    EXPECT_EQ(order, (std::vector<std::uint32_t>{0, 1, 2, 3, 4}));
}

TEST(Pool, FinishesWhileAThreadIsStuckInItsOwnTask) {
    auto pool = Pool::make(2);
    ASSERT_TRUE(pool);
    // Task 0 ends only when all the others have run: another thread must take over its share.
    std::atomic<int> others{0};
    (*pool)->run(16, worth_sharing, [&](std::uint32_t task) {
        if (task != 0) {
            ++others;
            others.notify_one();
            return;
        }
        for (int seen = others; seen != 15; seen = others) others.wait(seen);
    });
    EXPECT_EQ(others, 15);
}

TEST(Pool, CountsTasksAsProgress) {
    auto pool = Pool::make(2);
    ASSERT_TRUE(pool);
    (*pool)->run(10, worth_sharing, [](std::uint32_t) {});
    (*pool)->run(5, 0, [](std::uint32_t) {});
    EXPECT_EQ((*pool)->progress(), 15U);
}

TEST(Pool, RefusesSillyNumbersOfThreads) {
    for (const std::uint32_t threads : {0U, 1'025U, 0xffff'ffffU}) {
        const auto pool = Pool::make(threads);
        ASSERT_FALSE(pool);
        EXPECT_EQ(pool.error().code, base::Code::invalid);
    }
}

// Where each thread of a pool may run: a task for each, none of which ends before all have begun,
// so that no thread does two.
std::vector<CpuSet> affinities(Pool& pool) {
    std::vector<CpuSet> seen(pool.threads());
    std::barrier all_have_begun(pool.threads());
    pool.run(pool.threads(), worth_sharing, [&](std::uint32_t task) {
        all_have_begun.arrive_and_wait();
        seen[task] = thread_affinity();
    });
    std::ranges::sort(seen);
    return seen;
}

TEST(Pool, KeepsEveryThreadToItsPlaceAndTheCallerWhileItIsInUse) {
    const CpuSet before = thread_affinity();
    ASSERT_FALSE(before.empty());
    const Placement placement{{before.front()}, {before.back()}, before};
    Placement expected = placement;
    std::ranges::sort(expected);
    {
        auto pool = Pool::make(3, placement);
        ASSERT_TRUE(pool);
        EXPECT_EQ(thread_affinity(), before);
        EXPECT_EQ(affinities(**pool), expected);
        EXPECT_EQ(thread_affinity(), placement[0]);
        (*pool)->release_caller();
        EXPECT_EQ(thread_affinity(), before);
        std::thread([&] {  // as a model that one thread loads and another one uses
            EXPECT_EQ(affinities(**pool), expected);
            EXPECT_EQ(thread_affinity(), placement[0]);
        })
            .join();
        EXPECT_EQ(affinities(**pool), expected);
    }
    EXPECT_EQ(thread_affinity(), before);
}

TEST(Pool, RunsWithoutAPlaceThatTheSystemRefuses) {
    const CpuSet before = thread_affinity();
    auto pool = Pool::make(2, {{cpus_max - 1}, {cpus_max - 1}});
    ASSERT_TRUE(pool);
    EXPECT_EQ(affinities(**pool), (std::vector<CpuSet>{before, before}));
}

TEST(Pool, LeavesThreadsWithoutAPlacementAlone) {
    const CpuSet before = thread_affinity();
    auto pool = Pool::make(2);
    ASSERT_TRUE(pool);
    EXPECT_EQ(affinities(**pool), (std::vector<CpuSet>{before, before}));
}

}  // namespace
}  // namespace holdfast::cores
