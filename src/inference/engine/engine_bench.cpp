// What the engine costs beside the model: a model whose forward does next to nothing.
#include <benchmark/benchmark.h>

#include <utility>

#include "common/base/random.h"
#include "inference/engine/core.h"
#include "inference/engine/prepare.h"
#include "inference/engine/sampler.h"

namespace holdfast::engine {
namespace {

class OneByteTokenizer final : public text::Tokenizer {
public:
    explicit OneByteTokenizer(chat::TokenId size) : size_(size) {}
    std::vector<chat::TokenId> encode(std::string_view text) const override {
        return {text.begin(), text.end()};
    }
    std::string_view bytes(chat::TokenId id) const override {
        return std::string_view("abcdefghijklmnop").substr(static_cast<std::size_t>(id) % 16, 1);
    }
    bool is_special(chat::TokenId) const override { return false; }
    bool exists(chat::TokenId id) const override { return id < size_; }
    std::optional<chat::TokenId> find(std::string_view) const override { return std::nullopt; }
    chat::TokenId size() const override { return size_; }

private:
    chat::TokenId size_;
};

// The same rows whatever the tokens, shaped like a language model's: nearly all logits in a bell of
// width 2.5 around 0, a few dozen likely ones far above it.
class ConstantModel final : public model::Model {
public:
    explicit ConstantModel(std::uint32_t vocab) {
        shape_.vocab = vocab;
        shape_.context = 1 << 20;
        for (std::uint32_t row = 0; row < 64; ++row)
            for (std::uint32_t id = 0; id < vocab; ++id) {
                const auto bits = base::philox({id, 0, 0, 0}, {0, 0});
                double sum = -2.0;  // of four uniform numbers, variance 1/3
                for (const std::uint32_t word : bits) sum += word * 0x1.0p-32;
                const double likely = id % (vocab / 40) == 7 ? 10.0 + id * 12.0 / vocab : 0.0;
                logits_.push_back(static_cast<float>(sum * 4.33 + likely));
            }
    }
    const model::Shape& shape() const override { return shape_; }
    const std::string& fingerprint() const override { return fingerprint_; }
    std::uint32_t blocks() const override { return 1 << 16; }
    std::uint32_t batch_tokens_max() const override { return 512; }
    std::uint64_t progress() const override { return 0; }
    std::span<const float> forward(std::span<const model::Slice> slices) override {
        std::size_t rows = 0;
        for (const model::Slice& slice : slices) rows += slice.logits;
        return std::span(logits_).first(rows * shape_.vocab);
    }
    std::span<const float> row() const { return std::span(logits_).first(shape_.vocab); }

private:
    model::Shape shape_;
    std::string fingerprint_;
    std::vector<float> logits_;
};

// Arguments: choices decoded together, rows of the vocabulary.
void step(benchmark::State& state) {
    const auto running = static_cast<std::uint32_t>(state.range(0));
    ConstantModel model(static_cast<std::uint32_t>(state.range(1)));
    const OneByteTokenizer tokenizer(static_cast<chat::TokenId>(model.shape().vocab));
    const base::SystemClock clock;
    const std::unique_ptr<Runner> runner = make_host_runner(model, tokenizer);
    Core core(model, *runner, {}, clock);
    const Preparer preparer(tokenizer, text::ChatTemplate(), model.shape(), 1 << 20);
    const auto doorbell = std::make_shared<Doorbell>();
    std::vector<std::shared_ptr<Channel>> readers;
    std::uint64_t tokens = 0;
    for (auto _ : state) {
        while (readers.size() < running) {
            chat::Generation request{.prompt = std::string("prompt")};
            request.sampling.temperature = 0.6F;
            request.sampling.top_p = 0.95F;
            request.sampling.seed = readers.size();
            request.stopping.max_tokens = 4000;
            auto group = *preparer.prepare(std::move(request));
            group->channel = std::make_shared<Channel>(doorbell, nullptr, 256U);
            readers.push_back(group->channel);
            core.add(std::move(group));
        }
        core.step();
        for (const auto& reader : readers)
            while (*reader->next()) ++tokens;
        if (core.empty()) readers.clear();
    }
    state.counters["tokens"] =
        benchmark::Counter(static_cast<double>(tokens), benchmark::Counter::kIsRate);
}
BENCHMARK(step)->Args({1, 1024})->Args({64, 1024})->Args({1, 151'936})->Args({8, 151'936});

// Arguments: 0 greedy, 1 top-p as recommended for R1, 2 top-k, 3 plain, 4 top-p and logprobs.
void sample(benchmark::State& state) {
    const ConstantModel model(151'936);
    const OneByteTokenizer tokenizer(151'665);
    Sampler sampler(tokenizer, model.shape());
    chat::Generation request;
    request.sampling.seed = 1;
    request.sampling.temperature = state.range(0) == 0 ? 0.0F : 0.6F;
    if (state.range(0) == 1 || state.range(0) == 4) request.sampling.top_p = 0.95F;
    if (state.range(0) == 2) request.sampling.top_k = 50;
    if (state.range(0) == 4) request.logprobs = 20;
    TokenState token_state(tokenizer, request.sampling, {.output = {.tokens_max = 1U << 30}}, {});
    for (auto _ : state) {
        benchmark::DoNotOptimize(sampler.sample(model.row(), request, 0, token_state));
        token_state.feed('a');  // the next position
    }
}
BENCHMARK(sample)->DenseRange(0, 4);

}  // namespace
}  // namespace holdfast::engine
