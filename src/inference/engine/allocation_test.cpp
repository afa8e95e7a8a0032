// Counts what a step allocates, on every thread.
#include <gtest/gtest.h>

#include "common/base/test_allocations.h"
#include "inference/engine/core.h"
#include "inference/engine/prepare.h"

namespace holdfast::engine {
namespace {

using base::testing::allocations;

const std::string folder = HOLDFAST_SOURCE_DIR "/models/tiny-r1";

// Everything but log probabilities, whose bytes are an event's own.
std::vector<chat::Generation> requests() {
    std::vector<chat::Generation> all(4);
    all[0].prompt =
        std::vector<chat::Message>{{.role = chat::Role::user, .content = "What is 2 and 5?"}};
    all[0].sampling.temperature = 0.0F;
    all[1].prompt = std::string("sampled as R1 recommends");
    all[1].sampling.temperature = 0.6F;
    all[1].sampling.top_p = 0.95F;
    all[1].choices = 2;
    all[2].prompt = std::string("with penalties");
    all[2].sampling.presence_penalty = 0.1F;
    all[2].sampling.frequency_penalty = 0.1F;
    all[2].sampling.repetition_penalty = 1.1F;
    all[2].stopping.stop = {"never said", "nor this"};
    all[3].prompt =
        std::vector<chat::Message>{{.role = chat::Role::user, .content = "What is 1 and 7?"}};
    all[3].sampling.top_k = 20;
    all[3].sampling.min_p = 0.05F;
    all[3].sampling.logit_bias = {{65, 1.0F}};
    for (chat::Generation& request : all) {
        request.sampling.seed = 7;
        request.stopping.max_tokens = 2000;
        request.stopping.ignore_eos = true;
    }
    return all;
}

}  // namespace

TEST(Allocation, ATokenAllocatesNothing) {
    auto model = model::load(folder, {.threads = 2, .kv_tokens = 16'384, .batch_tokens_max = 256});
    auto tokenizer = text::load_tokenizer(folder, 1 << 20);
    auto chat_template = text::ChatTemplate::load(folder);
    ASSERT_TRUE(model && tokenizer && chat_template);
    const base::SystemClock clock;
    const Preparer preparer(**tokenizer, *chat_template, (*model)->shape(), 16'384);
    const auto doorbell = std::make_shared<Doorbell>();
    for (const std::uint32_t speculation : {0U, 3U}) {
        const std::unique_ptr<Runner> runner = make_host_runner(**model, **tokenizer);
        Core core(**model, *runner, {.speculation_tokens_max = speculation}, clock);
        std::vector<std::shared_ptr<Channel>> readers;
        std::size_t choices = 0;
        for (const chat::Generation& request : requests()) {
            auto group = preparer.prepare(request);
            ASSERT_TRUE(group) << group.error().what;
            choices += (*group)->unfinished;
            (*group)->channel = std::make_shared<Channel>(doorbell, nullptr, 256U);
            readers.push_back((*group)->channel);
            core.add(*std::move(group));
        }
        const auto run_until = [&](std::uint64_t tokens) {
            while (core.stats().generated_tokens < tokens) {
                ASSERT_TRUE(core.step());
                for (const auto& reader : readers)
                    while (reader->next()->has_value()) {
                    }
            }
        };
        run_until(400 * choices);
        const std::uint64_t before = allocations;
        run_until(760 * choices);
        // What grows with the answer doubles: once at most in this time, for the ids, their blocks,
        // the n-grams, and the penalties' two tables. A text of more than 15 bytes is rare.
        EXPECT_LE(allocations - before, 5 * choices) << "speculation " << speculation;
    }
}

}  // namespace holdfast::engine
