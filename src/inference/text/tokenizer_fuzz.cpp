// Feeds arbitrary text to the tokenizers of the tests: what the ids stand for must be the text
// again, normalised where the tokenizer does that. Run it from the repository's root, as
// scripts/fuzz does: it reads tests/golden/text.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "common/base/assert.h"
#include "inference/text/normalizer.h"
#include "inference/text/tokenizer.h"

namespace holdfast::text {
namespace {

std::shared_ptr<const Tokenizer> load(const char* family) {
    auto tokenizer = load_tokenizer(std::string("tests/golden/text/") + family, 1024);
    if (!tokenizer) {
        fmt::print(stderr, "{}\n", tokenizer.error().what);
        std::exit(EXIT_FAILURE);
    }
    return *tokenizer;
}

std::string bytes_of(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
    std::string bytes;
    for (const TokenId id : ids) bytes += tokenizer.bytes(id);
    return bytes;
}

void round_trip(std::string_view text) {
    static const auto llama3 = load("llama3"), qwen2 = load("qwen2");
    static const Normalizer normalizer;
    // These vocabularies have one token that is found after normalisation, which spells it as it
    // was before.
    const auto spells_anew = [](const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
        return std::ranges::find(ids, tokenizer.find("e\u0301!").value()) != ids.end();
    };
    const std::vector<TokenId> plain = llama3->encode(text);
    HF_ASSERT(spells_anew(*llama3, plain) || bytes_of(*llama3, plain) == text);

    const std::vector<TokenId> normalized = qwen2->encode(text);
    const std::string once = bytes_of(*qwen2, normalized);
    HF_ASSERT(bytes_of(*qwen2, qwen2->encode(once)) == once);
    // Added tokens, which all begin with this sign, part the text before it is normalised.
    std::string buffer;
    if (!text.contains('<') && !spells_anew(*qwen2, normalized))
        HF_ASSERT(once == normalizer.normalize(text, buffer));

    Detokenizer detokenizer(*llama3);
    std::string shown;
    for (const TokenId id : plain) shown += detokenizer.feed(id);
    shown += detokenizer.flush();
    HF_ASSERT(shown.size() <= 3 * bytes_of(*llama3, plain).size());
}

}  // namespace
}  // namespace holdfast::text

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    holdfast::text::round_trip({reinterpret_cast<const char*>(data), size});
    return 0;
}
