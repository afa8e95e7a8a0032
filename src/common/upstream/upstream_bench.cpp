// What one token of one stream costs the gateway: reading the instance's chunk and writing the
// client's. Run: build/upstream_bench
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "common/dialect/dialect.h"
#include "common/upstream/sse.h"
#include "common/upstream/upstream.h"

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

void read(benchmark::State& state, std::string_view chunk, InstanceKind kind) {
    UpstreamReader reader(kind, {});
    SseParser parser;
    const std::string event = fmt::format("data: {}\n\n", chunk);
    for (auto _ : state) {
        parser.feed(event);
        auto result = reader.read((*parser.next())->data);
        benchmark::DoNotOptimize(result);
        benchmark::DoNotOptimize(parser.next());
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * chunk.size()));
}
BENCHMARK_CAPTURE(read, holdfast, holdfast_chunk, InstanceKind::holdfast);
BENCHMARK_CAPTURE(read, vllm, vllm_chunk, InstanceKind::vllm);

void write(benchmark::State& state, bool want_ids) {
    chat::Request request;
    request.want_ids = want_ids;
    const dialect::AnswerHead head{"chatcmpl-0123456789abcdef", 1'760'000'000, "deepseek-r1:1.5b"};
    const auto encoder =
        dialect::find_by_path("/v1/chat/completions")->stream_encoder(request, head);
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
