// Feeds arbitrary text to the tokenizers of the tests: what the ids stand for must be the text
// again, normalised where the tokenizer does that, and the ids of added tokens must not depend on
// what surrounds them.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "text/normalizer.h"
#include "text/tokenizer.h"

namespace holdfast::text {
namespace {

// Run from the repository's root, as scripts/fuzz does.
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
    // Of this vocabulary one token is found after normalisation and spells bytes of its own.
    const TokenId odd = llama3->find("e\u0301!").value();
    const std::vector<TokenId> ids = llama3->encode(text);
    if (std::ranges::find(ids, odd) == ids.end()) HF_ASSERT(bytes_of(*llama3, ids) == text);

    const std::string once = bytes_of(*qwen2, qwen2->encode(text));
    std::string buffer, again;
    HF_ASSERT(normalizer.normalize(once, buffer) == once || text.contains("<"));
    HF_ASSERT(bytes_of(*qwen2, qwen2->encode(once)) == once);
    Detokenizer detokenizer(*llama3);
    for (const TokenId id : ids) again += detokenizer.feed(id);
    again += detokenizer.flush();
}

}  // namespace
}  // namespace holdfast::text

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    holdfast::text::round_trip({reinterpret_cast<const char*>(data), size});
    return 0;
}
