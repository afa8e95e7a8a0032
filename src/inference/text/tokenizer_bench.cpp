// Speed of encoding in bytes a second, on texts made here and on texts made to be slow. Set
// HOLDFAST_TOKENIZER to a folder with a tokenizer.json of full size; the small one that the tests
// use gives other figures, as its words fall into many more tokens.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <random>

#include "inference/text/tokenizer.h"

namespace holdfast::text {
namespace {

constexpr std::size_t text_bytes = 1 << 20;

const Tokenizer& tokenizer() {
    static const auto loaded = [] {
        const char* folder = std::getenv("HOLDFAST_TOKENIZER");
        auto result = load_tokenizer(
            folder != nullptr ? folder : HOLDFAST_SOURCE_DIR "/tests/golden/text/qwen2", 1 << 20);
        if (!result) {
            fmt::print(stderr, "{}\n", result.error().what);
            std::exit(EXIT_FAILURE);
        }
        return *result;
    }();
    return *loaded;
}

std::string mix(const std::vector<std::string_view>& words, std::string_view between) {
    std::mt19937 random(1);
    std::string text;
    while (text.size() < text_bytes) {
        // Frequent words are frequent, as in language: squared, low numbers prevail.
        const double u = std::uniform_real_distribution<>(0, 1)(random);
        text += words[static_cast<std::size_t>(u * u * static_cast<double>(words.size()))];
        text += between;
    }
    return text;
}

std::string repeat(std::string_view piece) {
    std::string text;
    while (text.size() < text_bytes) text += piece;
    return text;
}

std::string english() {
    return mix({"the",        "of",      "and",      "to",       "in",           "a",
                "is",         "that",    "we",       "number",   "so",           "first",
                "because",    "each,",   "problem.", "it's",     "we'll",        "equation",
                "therefore,", "twelve",  "multiply", "question", "remainder.\n", "42",
                "1984",       "harbour", "lantern",  "(or",      "neither)",     "unobtrusively"},
               " ");
}

std::string chinese() {
    return mix({"的",   "是",   "我们", "问题", "，",       "。",      "首先",
                "因此", "方程", "数字", "计算", "一步一步", "答案",    "每天早上",
                "港口", "灯笼", "３",   "7",    "\n",       "不起眼地"},
               "");
}

std::string code() {
    return mix({"    ", "\n", "for (int i = 0; ", "i < count; ", "++i) {\n", "        ", "return ",
                "total += price[i]", " * amount[i];", "}\n\n", "std::vector<float>", " x(n, 0.0F);",
                "// why", "if (!result)", "result->size()", "0x7FFF", "\t", "#include <array>\n"},
               "");
}

void encode(benchmark::State& state, const std::string& text) {
    const Tokenizer& subject = tokenizer();
    std::size_t ids = 0;
    for ([[maybe_unused]] const auto iteration : state) ids = subject.encode(text).size();
    state.SetBytesProcessed(static_cast<std::int64_t>(text.size()) * state.iterations());
    state.counters["bytes_per_id"] = static_cast<double>(text.size()) / static_cast<double>(ids);
}

#define HF_ENCODE(name, text) BENCHMARK_CAPTURE(encode, name, text)->Unit(benchmark::kMillisecond)

HF_ENCODE(english, english());
HF_ENCODE(chinese, chinese());
HF_ENCODE(code, code());
HF_ENCODE(decomposed_accents, repeat("e\u0301le\u0300ve "));
HF_ENCODE(one_letter, repeat("a"));
HF_ENCODE(one_word_of_words, repeat("lanternharbour"));
HF_ENCODE(spaces, repeat(" "));
HF_ENCODE(newlines_and_spaces, repeat("\n "));
HF_ENCODE(half_added_tokens, repeat("<｜tool▁outputs▁begi"));
HF_ENCODE(marks_out_of_order, repeat("\u0316\u0300"));
HF_ENCODE(not_utf8, repeat("\xFF"));

void detokenize(benchmark::State& state) {
    const std::vector<TokenId> ids = tokenizer().encode(english());
    for ([[maybe_unused]] const auto iteration : state) {
        Detokenizer detokenizer(tokenizer());
        for (const TokenId id : ids) benchmark::DoNotOptimize(detokenizer.feed(id));
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(ids.size()) * state.iterations());
}
BENCHMARK(detokenize)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace holdfast::text
