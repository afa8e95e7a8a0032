#include <gtest/gtest.h>

#include "inference/text/tokenizer.h"
#include "inference/text/utf8.h"

namespace holdfast::text {
namespace {

// Ids 0 to 255 are bytes, 256 is a special token.
class ByteTokenizer final : public Tokenizer {
public:
    ByteTokenizer() {
        for (int byte = 0; byte < 256; ++byte) bytes_ += static_cast<char>(byte);
    }
    std::vector<TokenId> encode(std::string_view text) const override {
        std::vector<TokenId> ids;
        for (const char byte : text) ids.push_back(static_cast<std::uint8_t>(byte));
        return ids;
    }
    std::string_view bytes(TokenId id) const override {
        return id == 256 ? "<special>" : std::string_view(bytes_).substr(id, 1);
    }
    bool is_special(TokenId id) const override { return id == 256; }
    bool exists(TokenId id) const override { return id >= 0 && id <= 256; }
    std::optional<TokenId> find(std::string_view) const override { return std::nullopt; }
    TokenId size() const override { return 257; }

private:
    std::string bytes_;
};

const std::string fffd(replacement_character);

std::string decode(std::string_view bytes) {
    const ByteTokenizer tokenizer;
    Detokenizer detokenizer(tokenizer);
    std::string text;
    for (const TokenId id : tokenizer.encode(bytes)) text += detokenizer.feed(id);
    return text + detokenizer.flush();
}

}  // namespace

TEST(Detokenizer, EmitsACharacterWithItsLastByte) {
    const ByteTokenizer tokenizer;
    Detokenizer detokenizer(tokenizer);
    EXPECT_EQ(detokenizer.feed(0xF0), "");
    EXPECT_EQ(detokenizer.feed(0x9F), "");
    EXPECT_EQ(detokenizer.feed(0x98), "");
    EXPECT_EQ(detokenizer.feed(0x80), "😀");
    EXPECT_EQ(detokenizer.flush(), "");
}

TEST(Detokenizer, GivesNoTextForSpecialTokensAndKeepsHalfACharacterAcrossThem) {
    const ByteTokenizer tokenizer;
    Detokenizer detokenizer(tokenizer);
    EXPECT_EQ(detokenizer.feed(0xC3), "");
    EXPECT_EQ(detokenizer.feed(256), "");
    EXPECT_EQ(detokenizer.feed(0xA9), "é");
}

// Expected values are what bytes.decode("utf-8", errors="replace") gives.
TEST(Detokenizer, ReplacesEachMaximalSubpartOnce) {
    EXPECT_EQ(decode("a\xFFz"), "a" + fffd + "z");
    EXPECT_EQ(decode("\x80\x80"), fffd + fffd);
    EXPECT_EQ(decode("\xC0\xAF"), fffd + fffd);                        // overlong
    EXPECT_EQ(decode("\xE0\x80\x80"), fffd + fffd + fffd);             // overlong
    EXPECT_EQ(decode("\xED\xA0\x80"), fffd + fffd + fffd);             // surrogate
    EXPECT_EQ(decode("\xF4\x90\x80\x80"), fffd + fffd + fffd + fffd);  // above U+10FFFF
    EXPECT_EQ(decode("\xE4\xBD!"), fffd + "!");
    EXPECT_EQ(decode("\xF0\x9F\x98\xE4\xBD\xA0"), fffd + "你");
    EXPECT_EQ(decode("\xF0\x9F\x98"), fffd);
    EXPECT_EQ(decode("\xF1\x80\x80\x41\xF5\x42"), fffd + "A" + fffd + "B");
}

TEST(Detokenizer, RoundTripsEveryUnicodeScalarValue) {
    std::string all;
    for (char32_t c = 0; c <= 0x10FFFF; c == 0xD7FF ? c = 0xE000 : ++c) append_utf8(all, c);
    EXPECT_EQ(decode(all), all);
}

}  // namespace holdfast::text
