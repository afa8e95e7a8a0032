// What one token of one stream costs the gateway: reading the instance's chunk and writing the
// client's. Run: build/upstream_bench
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "common/dialect/dialect.h"
#include "common/upstream/reader.h"

namespace holdfast::upstream {
namespace {

constexpr std::string_view holdfast_chunk =
    R"({"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1760000000,)"
    R"("model":"deepseek-r1:1.5b","choices":[{"index":0,)"
    R"("delta":{"reasoning_content":" therefore"},)"
    R"("finish_reason":null}],"holdfast":{"ids":[9212]}})";
constexpr std::string_view vllm_chunk =
    R"({"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1760000000,)"
    R"("model":"deepseek-r1:1.5b","choices":[{"index":0,"delta":{"content":" therefore"},)"
    R"("logprobs":null,"finish_reason":null}]})";

void read(benchmark::State& state, std::string_view chunk, const Kind& kind) {
    Reader reader(kind, {}, {});
    const std::string event = fmt::format("data: {}\n\n", chunk);
    for (auto _ : state) {
        reader.feed(event);
        auto result = reader.next();
        benchmark::DoNotOptimize(result);
        benchmark::DoNotOptimize(reader.next());
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * chunk.size()));
}
BENCHMARK_CAPTURE(read, holdfast, holdfast_chunk, holdfast_kind);
BENCHMARK_CAPTURE(read, vllm, vllm_chunk, vllm_kind);

void write(benchmark::State& state, bool want_ids) {
    chat::Request request;
    request.presentation = {.stream = true, .want_ids = want_ids};
    const dialect::AnswerHead head{"chatcmpl-0123456789abcdef", 1'760'000'000, "deepseek-r1:1.5b"};
    const auto encoder =
        dialect::find("POST", "/v1/chat/completions").dialect->make_encoder(request, head);
    chat::Event event{.ids = {9212}, .reasoning = " therefore"};
    std::string out;
    for (auto _ : state) {
        out.clear();
        encoder->event(event, out);
        benchmark::DoNotOptimize(out.data());
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * out.size()));
}
BENCHMARK_CAPTURE(write, for_clients, false);
BENCHMARK_CAPTURE(write, with_ids, true);

}  // namespace
}  // namespace holdfast::upstream
