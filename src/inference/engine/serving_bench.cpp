// The whole engine with a real model: what it makes of many requests at a time. Models are the
// bundled tiny-r1 (0) and made-up weights in the shape of DeepSeek-R1-Distill-Qwen-1.5B (1; 4 GB).
//   engine_bench --benchmark_filter='serve/model:0'
#include <benchmark/benchmark.h>

#include <algorithm>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

#include "inference/engine/engine.h"
#include "inference/model/random.h"

namespace holdfast::engine {
namespace {

const std::string folder = HOLDFAST_SOURCE_DIR "/models/tiny-r1";

// What the answers are like, in the eyes of speculation.
enum class Text {
    natural,    // as the model samples it
    repeating,  // the model's own greedy text, which soon goes in circles
    copying,    // always the same tokens: the most that speculation can gain
    shuffled,   // eight tokens in random order: all n-grams were there before and mislead
};

struct Load {
    std::uint32_t concurrency = 1;
    std::uint32_t answers = 1;  // in all
    std::uint32_t tokens = 1;   // of each answer
    Text text = Text::natural;
};

struct Measured {
    double seconds = 0, tokens = 0;
    std::vector<double> first_token_ms;  // sorted
};

chat::Generation request_of(const Load& load, std::uint32_t number) {
    chat::Generation request;
    // Short where tokens a second are counted: they are to be the answers'.
    const std::string text = std::to_string(number);
    if (load.text == Text::natural)
        request.prompt = text;
    else
        request.prompt = std::vector<chat::Message>{
            {.role = chat::Role::user, .content = "What is " + text + " and 5?"}};
    request.sampling.seed = number;
    request.sampling.temperature = load.text == Text::repeating ? 0.0F : 0.6F;
    request.sampling.top_p = 0.95F;
    if (load.text == Text::copying) request.sampling.logit_bias = {{65, 100.0F}};
    if (load.text == Text::shuffled) {
        for (chat::TokenId id = 65; id < 73; ++id)
            request.sampling.logit_bias.emplace_back(id, 100.0F);
        request.sampling.temperature = 2.0F;
        request.sampling.top_p = 1.0F;
    }
    request.stopping.max_tokens = load.tokens;
    request.stopping.ignore_eos = true;
    return request;
}

// A client as a thread: asks, reads to the end, asks again.
class Client {
public:
    void ask(Engine& engine, chat::Generation request, Measured& measured) {
        const auto begin = std::chrono::steady_clock::now();
        auto stream = engine.submit(std::move(request), {}, [this] { news_.release(); });
        if (!stream) std::abort();
        bool first = true;
        while (true) {
            auto event = (*stream)->next();
            if (!event) std::abort();
            if (!*event) {
                news_.acquire();
                continue;
            }
            if (std::exchange(first, false)) {
                const std::chrono::duration<double, std::milli> waited =
                    std::chrono::steady_clock::now() - begin;
                measured.first_token_ms.push_back(waited.count());
            }
            measured.tokens += static_cast<double>((*event)->ids.size());
            if ((*event)->usage) return;
        }
    }

private:
    std::counting_semaphore<> news_{0};
};

// `load.concurrency` clients, each with its share of the answers.
Measured measure(Engine& engine, const Load& load) {
    std::vector<Measured> each(load.concurrency);
    const auto begin = std::chrono::steady_clock::now();
    {
        std::vector<std::jthread> clients;
        for (std::uint32_t client = 0; client < load.concurrency; ++client)
            clients.emplace_back([&, client] {
                for (std::uint32_t i = client; i < load.answers; i += load.concurrency)
                    Client().ask(engine, request_of(load, i), each[client]);
            });
    }
    Measured all;
    all.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    for (const Measured& one : each) {
        all.tokens += one.tokens;
        all.first_token_ms.insert(all.first_token_ms.end(), one.first_token_ms.begin(),
                                  one.first_token_ms.end());
    }
    std::ranges::sort(all.first_token_ms);
    return all;
}

class Host {
public:
    Host(bool large, Options options) {
        model::LoadOptions load{.threads = std::thread::hardware_concurrency(),
                                .kv_tokens = 16'384,
                                .batch_tokens_max = 256};
        auto model =
            large ? model::random_model(*model::find_shape("r1-1.5b"), tensor::DataType::bf16, load)
                  : model::load(folder, load);
        auto tokenizer = text::load_tokenizer(folder, 1 << 20);
        auto chat_template = text::ChatTemplate::load(folder);
        if (!model || !tokenizer || !chat_template) std::abort();
        engine_ = make_engine(std::move(*model), *tokenizer, *chat_template, options, clock_);
    }
    Engine& engine() { return *engine_; }

private:
    base::SystemClock clock_;
    std::unique_ptr<Engine> engine_;
};

void run(benchmark::State& state, bool large, Load load, Options options) {
    Host host(large, options);
    measure(host.engine(),
            {.concurrency = load.concurrency, .answers = load.concurrency, .tokens = 2});
    Measured all;
    const Stats before = host.engine().stats();
    for (auto _ : state) {
        const Measured one = measure(host.engine(), load);
        state.SetIterationTime(one.seconds);
        all.tokens += one.tokens;
        all.first_token_ms.insert(all.first_token_ms.end(), one.first_token_ms.begin(),
                                  one.first_token_ms.end());
    }
    const Stats after = host.engine().stats();
    std::ranges::sort(all.first_token_ms);
    const auto counter = [&](const char* name, double value) { state.counters[name] = value; };
    state.counters["tokens/s"] = benchmark::Counter(all.tokens, benchmark::Counter::kIsRate);
    counter("first_ms", all.first_token_ms[all.first_token_ms.size() / 2]);
    counter("first_p95_ms", all.first_token_ms[all.first_token_ms.size() * 95 / 100]);
    counter("tokens/step", all.tokens / static_cast<double>(after.steps - before.steps));
    const auto proposed = static_cast<double>(after.proposed_tokens - before.proposed_tokens);
    const auto accepted = static_cast<double>(after.accepted_tokens - before.accepted_tokens);
    counter("accepted", proposed == 0 ? 0 : accepted / proposed);
}

// Tokens a second by the number of clients.
void serve(benchmark::State& state) {
    const bool large = state.range(0) == 1;
    const auto concurrency = static_cast<std::uint32_t>(state.range(1));
    run(state, large,
        {.concurrency = concurrency, .answers = concurrency, .tokens = large ? 12U : 256U}, {});
}
BENCHMARK(serve)
    ->ArgNames({"model", "clients"})
    ->ArgsProduct({{0, 1}, {1, 2, 4, 8, 16, 32}})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

// With and without speculation, by the kind of text.
void speculate(benchmark::State& state) {
    const bool large = state.range(0) == 1;
    const auto concurrency = static_cast<std::uint32_t>(state.range(2));
    run(state, large,
        {.concurrency = concurrency,
         .answers = concurrency,
         .tokens = large ? 24U : 400U,
         .text = static_cast<Text>(state.range(1))},
        {.speculation_tokens_max = static_cast<std::uint32_t>(state.range(3))});
}
BENCHMARK(speculate)
    ->ArgNames({"model", "text", "clients", "tokens"})
    ->ArgsProduct({{0, 1}, {0, 1, 2, 3}, {1, 4}, {0, 1, 3, 7}})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

// The batch wait, for short answers to clients that ask again as soon as they have one.
void wait(benchmark::State& state) {
    const bool large = state.range(0) == 1;
    const auto concurrency = static_cast<std::uint32_t>(state.range(1));
    run(state, large,
        {.concurrency = concurrency,
         .answers = concurrency * (large ? 1U : 8U),
         .tokens = large ? 4U : 32U},
        {.batch_wait = std::chrono::milliseconds(state.range(2))});
}
BENCHMARK(wait)
    ->ArgNames({"model", "clients", "wait_ms"})
    ->ArgsProduct({{0, 1}, {1, 8, 32}, {0, 5, 20, 100}})
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace holdfast::engine
