#include "inference/text/bpe.h"

#include <gtest/gtest.h>

#include "inference/text/golden_test.h"
#include "inference/text/tokenizer_file.h"

namespace holdfast::text {
namespace {

std::string repeated(std::string_view piece, std::size_t bytes) {
    std::string text;
    while (text.size() < bytes) text += piece;
    return text;
}

}  // namespace

// Every merge looks at two pairs, and a word of n bytes has fewer than n merges; the heap adds the
// logarithm. A quadratic step would show at once.
TEST(Bpe, LooksAtNoMoreThanThreePairsForEachByte) {
    for (const std::string folder : {"qwen2", "llama3"}) {
        const auto file =
            read_tokenizer_file(golden_folder + "/" + folder + "/tokenizer.json", 1024);
        ASSERT_TRUE(file) << file.error().what;
        const Bpe bpe(file->bytes, file->merges);
        for (const std::string_view piece :
             {"a", "the", "counts", " ", "\n", "7", "!", "<\uff5c", "\u0301", "每天晚上", "\xFF"}) {
            for (const std::size_t bytes : {1'000U, 100'000U}) {
                const std::string word = repeated(piece, bytes);
                Bpe::Scratch scratch;
                std::vector<chat::TokenId> ids;
                bpe.encode(word, scratch, ids);
                EXPECT_LE(scratch.considered, 3 * word.size()) << piece;
                EXPECT_LE(scratch.heap.capacity(), 4 * word.size()) << piece;
                std::string decoded;
                for (const chat::TokenId id : ids)
                    decoded += file->vocabulary.bytes[static_cast<std::size_t>(id)];
                EXPECT_EQ(decoded, word);
            }
        }
    }
}

}  // namespace holdfast::text
