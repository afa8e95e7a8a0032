// Counts what a step allocates. Replaces the program's operator new by one that counts, for each
// thread apart.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "engine/test_world.h"

namespace {
thread_local std::uint64_t allocations = 0;
}

void* operator new(std::size_t bytes) {
    ++allocations;
    if (void* const memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace holdfast::engine {

// An event owns the list of its ids, and a few events share a piece of their channel's queue. What
// grows with the answer doubles, which the margin is for.
TEST(Allocation, AStepAllocatesTwiceATokenAtMost) {
    for (const std::uint32_t speculation : {0U, 3U}) {
        World world({.speculation_tokens_max = speculation}, {.habit = 9.0F});
        std::vector<std::unique_ptr<World::Reader>> readers;
        for (std::uint32_t i = 0; i < 4; ++i) {
            chat::Request request;
            request.prompt = std::string(40, static_cast<char>('a' + i));
            request.sampling.seed = i;
            request.sampling.temperature = 0.6F;
            request.sampling.top_p = 0.95F;
            request.sampling.presence_penalty = 0.1F;
            request.stopping.stop = {"never said"};
            request.stopping.max_tokens = 2000;
            request.stopping.ignore_eos = true;
            readers.push_back(world.submit(request));
        }
        std::uint64_t counted = 0, before = 0;
        for (int step = 0; step < 400; ++step) {
            const std::uint64_t begin = allocations;
            ASSERT_TRUE(world.core.step());
            if (step >= 100) counted += allocations - begin;
            if (step == 99) before = world.core.stats().generated_tokens;
            for (auto& reader : readers) reader->read();
        }
        const std::uint64_t tokens = world.core.stats().generated_tokens - before;
        EXPECT_GE(tokens, 300U * readers.size());
        EXPECT_LE(static_cast<double>(counted) / static_cast<double>(tokens), 2.05)
            << "speculation " << speculation;
    }
}

}  // namespace holdfast::engine
