// The numerics contract with the real model, tokenizer and engine together: the same request gives
// the same token ids and the same log probabilities, bit for bit, on every axis that may vary.
#include <gtest/gtest.h>

#include <filesystem>

#include "inference/engine/test_world.h"

namespace holdfast::engine {
namespace {

const std::string folder = HOLDFAST_SOURCE_DIR "/models/tiny-r1";
constexpr std::uint32_t requests = 33;

struct Axes {
    std::string isa;
    std::uint32_t threads = 1;
    std::uint32_t prefill_tokens_max = 256;
    std::uint32_t batch_tokens_max = 512;
    std::uint32_t kv_tokens = 32'768;
    bool prefix_cache = true;
    std::uint32_t speculation_tokens_max = 0;
    std::string weights = "file", kv_type = "f32";
    RunnerKind runner = EachRunner::kind;
};

class RealEngine {
public:
    explicit RealEngine(const Axes& axes) {
        model::LoadOptions load;
        load.threads = axes.threads;
        load.kv_tokens = axes.kv_tokens;
        load.batch_tokens_max = axes.batch_tokens_max;
        load.isa = axes.isa;
        load.weights = *model::parse_weights(axes.weights);
        load.kv_type = *model::parse_kv_type(axes.kv_type);
        auto model = model::load(folder, load);
        auto tokenizer = text::load_tokenizer(folder, 1 << 20);
        auto chat_template = text::ChatTemplate::load(folder);
        EXPECT_TRUE(model && tokenizer && chat_template);
        Options options;
        options.prefill_tokens_max = axes.prefill_tokens_max;
        options.prefix_cache = axes.prefix_cache;
        options.speculation_tokens_max = axes.speculation_tokens_max;
        engine_ = make_engine(std::move(*model), *tokenizer, *chat_template, options, clock_,
                              maker(axes.runner));
    }
    ~RealEngine() { engine_->stop(base::Deadline(clock_.now())); }

    std::unique_ptr<Stream> submit(chat::Generation request) {
        auto stream = engine_->submit(std::move(request), {}, [] {});
        EXPECT_TRUE(stream) << stream.error().what;
        return *std::move(stream);
    }

    static Answer read(Stream& stream) {
        Answer answer;
        while (!answer.complete() && !answer.error) {
            auto event = stream.next();
            if (!event) answer.error = event.error();
            if (event && *event) answer.add(**event);
            if (event && !*event) std::this_thread::yield();
        }
        EXPECT_FALSE(answer.error);
        return answer;
    }

    std::vector<Answer> one_by_one() {
        std::vector<Answer> answers;
        for (std::uint32_t i = 0; i < requests; ++i) answers.push_back(read(*submit(ask(i))));
        return answers;
    }
    std::vector<Answer> together() {
        std::vector<std::unique_ptr<Stream>> streams;
        for (std::uint32_t i = 0; i < requests; ++i) streams.push_back(submit(ask(i)));
        std::vector<Answer> answers;
        for (auto& stream : streams) answers.push_back(read(*stream));
        return answers;
    }
    Stats stats() const { return engine_->stats(); }

    static chat::Generation ask(std::uint32_t number) {
        chat::Generation request = varied_request(number);
        if (!request.echo) request.logprobs = 2;
        return request;
    }

private:
    base::SystemClock clock_;
    std::unique_ptr<Engine> engine_;
};

class ContractTest : public EachRunner {
protected:
    void SetUp() override {
        EachRunner::SetUp();
        ASSERT_TRUE(std::filesystem::exists(folder)) << folder << " is missing";
    }
    // One thread, each request alone, no prefix cache: what everything else must equal.
    static const std::vector<Answer>& expected() {
        static const std::vector<Answer> answers = [] {
            return RealEngine({.prefix_cache = false, .runner = RunnerKind::host}).one_by_one();
        }();
        return answers;
    }
    static void expect_expected(const std::vector<Answer>& answers, const std::string& context) {
        for (std::uint32_t i = 0; i < requests; ++i)
            expect_same(answers[i], expected()[i], fmt::format("{}, request {}", context, i));
    }
};

HF_ON_EACH_RUNNER(ContractTest);

TEST_P(ContractTest, HoldsAmongStrangers) {
    expect_expected(RealEngine({.prefix_cache = false}).together(), "together");
}

TEST_P(ContractTest, HoldsForEveryPrefillChunk) {
    for (const std::uint32_t tokens : {1U, 3U, 16U, 17U, 64U})
        expect_expected(RealEngine({.prefill_tokens_max = tokens}).together(),
                        fmt::format("chunks of {}", tokens));
}

TEST_P(ContractTest, HoldsWithAPrefixHit) {
    RealEngine engine({});
    engine.one_by_one();
    const std::uint64_t before = engine.stats().cached_tokens;
    expect_expected(engine.one_by_one(), "a second time");
    EXPECT_GT(engine.stats().cached_tokens, before);
}

TEST_P(ContractTest, HoldsAfterPreemption) {
    RealEngine engine({.kv_tokens = 640});
    expect_expected(engine.together(), "a small cache");
    EXPECT_GT(engine.stats().preemptions, 0);
}

TEST_P(ContractTest, HoldsForEveryThreadCount) {
    for (const std::uint32_t threads : {1U, 2U, 3U})
        expect_expected(RealEngine({.threads = threads}).together(),
                        fmt::format("{} threads", threads));
}

TEST_P(ContractTest, HoldsForEveryInstructionSet) {
    for (const std::string isa : {"scalar", "avx2", "avx512", "vnni"}) {
        if (!model::load(folder, {.isa = isa})) continue;  // this machine does not have it
        expect_expected(RealEngine({.isa = isa, .threads = 2}).together(), isa);
    }
}

TEST_P(ContractTest, HoldsWithSpeculation) {
    for (const std::uint32_t tokens : {1U, 3U, 7U}) {
        RealEngine engine({.threads = 2, .speculation_tokens_max = tokens});
        expect_expected(engine.one_by_one(), fmt::format("{} proposed tokens", tokens));
        EXPECT_GT(engine.stats().accepted_tokens, 0);
        EXPECT_GT(engine.stats().proposed_tokens, engine.stats().accepted_tokens);
        expect_expected(engine.together(), fmt::format("{} proposed tokens, together", tokens));
    }
    RealEngine small({.kv_tokens = 640, .speculation_tokens_max = 4});
    expect_expected(small.together(), "speculation in a small cache");
    EXPECT_GT(small.stats().preemptions, 0);
}

TEST_P(ContractTest, HoldsForEveryTypeOfWeightsAndCache) {
    std::uint64_t preemptions = 0;
    for (const auto& [weights, kv_type] : {std::pair("q8_0", "f32"), std::pair("q4_0", "q8"),
                                           std::pair("file", "bf16"), std::pair("f16", "q8")}) {
        const Axes alone{.prefix_cache = false,
                         .weights = weights,
                         .kv_type = kv_type,
                         .runner = RunnerKind::host};
        const auto answers = RealEngine(alone).one_by_one();
        // The other instruction sets are compared in src/inference/model, without an engine.
        for (const std::string isa : {"", "avx2"}) {
            if (!model::load(folder, {.isa = isa})) continue;  // this machine does not have it
            Axes together = alone;
            together.isa = isa;
            together.threads = 2;
            together.prefill_tokens_max = 17;
            together.kv_tokens = 640;
            together.prefix_cache = true;
            together.runner = kind;
            RealEngine engine(together);
            const auto others = engine.together();
            preemptions += engine.stats().preemptions;
            for (std::uint32_t i = 0; i < requests; ++i)
                expect_same(others[i], answers[i],
                            fmt::format("{} {} {}, request {}", weights, kv_type, isa, i));
        }
    }
    EXPECT_GT(preemptions, 0);
}

TEST_P(ContractTest, HoldsAfterAResumeAtEveryEvent) {
    RealEngine engine({.speculation_tokens_max = 4});
    for (const std::uint32_t number : {1U, 2U, 3U, 5U}) {  // one choice each
        const Answer& whole = expected()[number];
        ASSERT_EQ(whole.choices.size(), 1);
        for (std::size_t cut = 0; cut < whole.events.size(); ++cut) {
            Answer joined;
            for (std::size_t i = 0; i < cut; ++i) joined.add(whole.events[i]);
            chat::Generation request = RealEngine::ask(number);
            if (cut > 0) request.resume = chat::Resume{{joined.choices[0].ids}};
            const auto stream = engine.submit(std::move(request));
            const Answer rest = RealEngine::read(*stream);
            for (const chat::Event& event : rest.events) joined.add(event);
            expect_same(joined, whole, fmt::format("request {} cut at {}", number, cut));
        }
    }
}

}  // namespace
}  // namespace holdfast::engine
