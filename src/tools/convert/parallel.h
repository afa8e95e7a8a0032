#pragma once

#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

namespace holdfast::convert {

// Calls work(i) for every i below `count` on up to `threads` threads, and returns when all is done.
template <class Work>
void in_parallel(unsigned threads, std::size_t count, const Work& work) {
    std::atomic<std::size_t> next = 0;
    const auto run = [&] {
        for (std::size_t i = next++; i < count; i = next++) work(i);
    };
    std::vector<std::jthread> others;
    for (unsigned i = 1; i < threads && i < count; ++i) others.emplace_back(run);
    run();
}

}  // namespace holdfast::convert
