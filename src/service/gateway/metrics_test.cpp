#include "service/gateway/metrics.h"

#include <gtest/gtest.h>

#include <string>

namespace holdfast::gateway {
namespace {

TEST(RequestCounters, CountsEveryLabelSetOnceHoweverManyThereAre) {
    telemetry::Registry registry;
    Metrics metrics(registry);
    RequestCounters one_loop(metrics), another_loop(metrics);
    for (int round = 0; round < 3; ++round) {
        for (int status = 400; status < 500; ++status)
            one_loop.add("openai_chat", "m", status, "invalid");
    }
    another_loop.add("openai_chat", "m", 404, "invalid");
    another_loop.add("openai_chat", "m", 404, "not_found");
    another_loop.add("openai_chat", "other", 404, "invalid");
    another_loop.add("openai_completions", "m", 404, "invalid");
    for (int status = 400; status < 500; ++status) {
        const std::uint64_t expected = status == 404 ? 4 : 3;
        EXPECT_EQ(metrics.requests("openai_chat", "m", status, "invalid").value(), expected);
    }
    EXPECT_EQ(metrics.requests("openai_chat", "m", 404, "not_found").value(), 1);
    EXPECT_EQ(metrics.requests("openai_chat", "other", 404, "invalid").value(), 1);
    EXPECT_EQ(metrics.requests("openai_completions", "m", 404, "invalid").value(), 1);
}

}  // namespace
}  // namespace holdfast::gateway
