#include "inference/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "common/base/test_damage.h"
#include "common/base/test_folder.h"
#include "inference/text/golden_test.h"

namespace holdfast::text {
namespace {

using testing::AllOf;
using testing::HasSubstr;

using TokenizerPtr = std::shared_ptr<const Tokenizer>;

TokenizerPtr load(const std::string& folder) {
    auto tokenizer = load_tokenizer(folder, 1 << 20);
    EXPECT_TRUE(tokenizer) << tokenizer.error().what;
    return tokenizer ? *tokenizer : nullptr;
}

TokenizerPtr qwen2() { return load(golden_folder + "/qwen2"); }
TokenizerPtr llama3() { return load(golden_folder + "/llama3"); }

std::string bytes_of(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
    std::string bytes;
    for (const TokenId id : ids) bytes += tokenizer.bytes(id);
    return bytes;
}

std::string decode(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
    Detokenizer detokenizer(tokenizer);
    std::string text;
    for (const TokenId id : ids) text += detokenizer.feed(id);
    return text + detokenizer.flush();
}

// Compares with cases {"text", "ids", and perhaps "decoded"}; returns how many there were.
std::size_t expect_cases(const Tokenizer& tokenizer, const simdjson::dom::element& cases,
                         std::string (*to_text)(const Tokenizer&, const std::vector<TokenId>&)) {
    std::size_t count = 0;
    for (const simdjson::dom::element one : cases) {
        const std::string_view text = one["text"];
        std::vector<TokenId> ids;
        for (const std::int64_t id : one["ids"]) ids.push_back(static_cast<TokenId>(id));
        EXPECT_EQ(tokenizer.encode(text), ids) << text;
        if (std::string_view decoded; !one["decoded"].get(decoded))
            EXPECT_EQ(to_text(tokenizer, ids), decoded);
        ++count;
    }
    return count;
}

}  // namespace

TEST(Tokenizer, GivesTheRecordedIdsAndTexts) {
    simdjson::dom::parser parser;
    const simdjson::dom::element golden = parser.load(golden_folder + "/ids.json");
    std::size_t families = 0;
    for (const simdjson::dom::element family : golden["families"]) {
        const std::string_view folder = family["folder"];
        const TokenizerPtr tokenizer = load(golden_folder + "/" + std::string(folder));
        ASSERT_TRUE(tokenizer);
        EXPECT_GT(expect_cases(*tokenizer, family["cases"], decode), 400U);
        ++families;
    }
    EXPECT_EQ(families, 2U);
}

TEST(Tokenizer, GivesTheRecordedIdsOfTinyR1) {
    const std::string recorded = HOLDFAST_SOURCE_DIR "/tests/golden/tiny_r1_tokens.json";
    const TokenizerPtr tokenizer = load(HOLDFAST_SOURCE_DIR "/models/tiny-r1");
    ASSERT_TRUE(tokenizer);
    simdjson::dom::parser parser;
    // Recorded with the names of special tokens.
    EXPECT_GT(expect_cases(*tokenizer, parser.load(recorded), bytes_of), 0U);
}

TEST(Tokenizer, KnowsWhatEachIdIs) {
    const TokenizerPtr tokenizer = qwen2();
    const TokenId end = tokenizer->find("<｜end▁of▁sentence｜>").value();
    const TokenId think = tokenizer->find("<think>").value();
    EXPECT_TRUE(tokenizer->is_special(end));
    EXPECT_FALSE(tokenizer->is_special(think));
    EXPECT_EQ(tokenizer->bytes(think), "<think>");
    EXPECT_EQ(tokenizer->bytes(tokenizer->find(" the").value()), " the");
    EXPECT_EQ(tokenizer->spelling(tokenizer->find(" the").value()), "Ġthe");
    EXPECT_EQ(tokenizer->spelling(end), "<｜end▁of▁sentence｜>");
    EXPECT_EQ(tokenizer->spelling(tokenizer->find("\xC3").value()), "Ã");
    EXPECT_FALSE(tokenizer->find("not one token"));
    EXPECT_TRUE(tokenizer->exists(0));
    for (const TokenId none : {-1, tokenizer->size(), 1 << 30}) {
        EXPECT_FALSE(tokenizer->exists(none));
        EXPECT_FALSE(tokenizer->is_special(none));
        EXPECT_EQ(tokenizer->bytes(none), "");
    }
}

TEST(Tokenizer, KeepsEveryByteOfTextThatIsNotUtf8) {
    std::mt19937 random(3);
    // Without a normaliser the ids stand for exactly the bytes that went in.
    const TokenizerPtr tokenizer = llama3();
    EXPECT_EQ(bytes_of(*tokenizer, tokenizer->encode("a\xFF z\xE4\xBD")), "a\xFF z\xE4\xBD");
    for (int round = 0; round < 2'000; ++round) {
        std::string text;
        for (unsigned n = random() % 40; n > 0; --n)
            text += static_cast<char>(random() % 4 == 0 ? 0x80 + random() % 128 : random() % 128);
        ASSERT_EQ(bytes_of(*tokenizer, tokenizer->encode(text)), text);
    }
}

TEST(Tokenizer, NormalizesAroundBytesThatAreNotUtf8) {
    const TokenizerPtr tokenizer = qwen2();
    const auto through = [&](std::string_view text) {
        return bytes_of(*tokenizer, tokenizer->encode(text));
    };
    EXPECT_EQ(through("e\u0301\xFFo\u0302"), "\u00e9\xFF\u00f4");
    EXPECT_EQ(through("e\xFF\u0301"), "e\xFF\u0301");
    EXPECT_EQ(through("\xCC"), "\xCC");
}

// None of these may take more than linear-logarithmic time; a quadratic step would take hours.
TEST(Tokenizer, EncodesLongWordsRunsOfSpacesAndRunsOfMarks) {
    const TokenizerPtr tokenizer = qwen2();
    const auto repeat = [](std::string_view piece, std::size_t count) {
        std::string text;
        for (std::size_t i = 0; i < count; ++i) text += piece;
        return text;
    };
    for (const std::string& text :
         {repeat("a", 1'000'000), repeat("the", 300'000), repeat(" ", 1'000'000),
          repeat("\n ", 500'000), repeat("<", 1'000'000), repeat("<｜User", 100'000),
          repeat("!", 1'000'000), repeat("7", 1'000'000), repeat("\xFF", 300'000)}) {
        EXPECT_EQ(bytes_of(*tokenizer, tokenizer->encode(text)), text);
    }
    const std::string marks = "x" + repeat("\u0316\u0300", 200'000);
    const std::string ordered = "x" + repeat("\u0316", 200'000) + repeat("\u0300", 200'000);
    EXPECT_EQ(bytes_of(*tokenizer, tokenizer->encode(marks)), ordered);
}

namespace {

// The smallest sound file, with some text replaced.
std::string tokenizer_json(std::string_view from = "", std::string_view to = "") {
    std::string text = read_file(golden_folder + "/qwen2/tokenizer.json");
    if (from.empty()) return text;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
}

base::Result<TokenizerPtr> load_text(const std::string& json, TokenId vocab_rows = 1024) {
    const base::testing::TemporaryFolder folder;
    folder.write("tokenizer.json", json);
    return load_tokenizer(folder.path(), vocab_rows);
}

std::string why_not(std::string_view from, std::string_view to) {
    const auto result = load_text(tokenizer_json(from, to));
    return result ? "it was accepted" : result.error().what;
}

}  // namespace

TEST(TokenizerFile, RefusesWhatWouldGiveOtherIds) {
    EXPECT_THAT(why_not(R"("type":"NFC")", R"("type":"NFKC")"),
                HasSubstr("tokenizer.json: normalizer: normalizer \"NFKC\" is not supported"));
    EXPECT_THAT(why_not(R"(|\\s+(?!\\S))", ""),
                AllOf(HasSubstr("pre_tokenizer.pretokenizers[0].pattern.Regex: the pattern"),
                      HasSubstr("known are those of Qwen2 and Llama 3")));
    EXPECT_THAT(why_not(R"("behavior":"Isolated")", R"("behavior":"Removed")"),
                HasSubstr("only behavior \"Isolated\""));
    EXPECT_THAT(why_not(R"("add_prefix_space":false)", R"("add_prefix_space":true)"),
                HasSubstr("pretokenizers[1]: add_prefix_space is not supported"));
    EXPECT_THAT(why_not(R"("use_regex":false)", R"("use_regex":true)"), HasSubstr("use_regex"));
    EXPECT_THAT(why_not(R"("type":"Sequence")", R"("type":"Whitespace")"),
                HasSubstr("pre-tokenizer \"Whitespace\" is not supported"));
    EXPECT_THAT(why_not(R"("type":"BPE")", R"("type":"WordPiece")"), HasSubstr("only BPE is"));
    EXPECT_THAT(why_not(R"("dropout":null)", R"("dropout":0.1)"),
                HasSubstr("model.dropout: is not supported"));
    EXPECT_THAT(why_not(R"("unk_token":null)", R"("unk_token":"?")"), HasSubstr("model.unk_token"));
    EXPECT_THAT(why_not(R"("byte_fallback":false)", R"("byte_fallback":true)"),
                HasSubstr("model.byte_fallback"));
    EXPECT_THAT(why_not(R"("lstrip":false)", R"("lstrip":true)"),
                HasSubstr("added_tokens[0].lstrip: is not supported"));
}

TEST(TokenizerFile, RefusesIdsOutsideOfTheModel) {
    const auto result = load_text(tokenizer_json(), 603);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, base::Code::corrupt);
    EXPECT_THAT(
        result.error().what,
        HasSubstr("added_tokens[4].id: id 603 of token \"<｜Assistant｜>\" is outside of the "
                  "model's 603 rows"));
    EXPECT_TRUE(load_text(tokenizer_json(), 608));
    EXPECT_THAT(why_not(R"("!":0)", R"("!":-1)"), HasSubstr("model.vocab: id -1 of token \"!\""));
    EXPECT_THAT(why_not(R"("!":0)", R"("!":4294967296)"), HasSubstr("id 4294967296"));
}

TEST(TokenizerFile, NamesFieldAndReasonForDamage) {
    EXPECT_THAT(why_not(R"("!":0)", R"("!":1)"), HasSubstr("model.vocab: id 1 is given twice"));
    EXPECT_THAT(why_not(R"("!":0)", R"("!":0,"!":700)"), HasSubstr("\"!\" is listed twice"));
    EXPECT_THAT(why_not(R"("!":0)", R"("":0)"), HasSubstr("the token of id 0 is empty"));
    EXPECT_THAT(why_not(R"("!":0)", R"("!":"0")"), HasSubstr("\"!\" is not an integer"));
    EXPECT_THAT(why_not(R"("!":0)", R"("!!!!":0)"), HasSubstr("no token for the byte 0x21"));
    EXPECT_THAT(why_not(R"("id":601)", R"("id":600)"),
                HasSubstr("added_tokens[2].id: id 600 is given twice"));
    EXPECT_THAT(why_not(R"("id":601)", R"("id":5)"), HasSubstr("id 5 is given twice"));
    EXPECT_THAT(why_not(R"("id":27,"content":"<")", R"("id":700,"content":"<")"),
                HasSubstr("has id 700 here and 27 in model.vocab"));
    EXPECT_THAT(why_not(R"("content":"<think>")", R"("content":"")"),
                HasSubstr("content: is empty"));
    EXPECT_THAT(why_not(R"("content":"<think>")", R"("content":5)"), HasSubstr("is not a string"));
    EXPECT_THAT(why_not(R"("special":true)", R"("special":"yes")"), HasSubstr("is not a boolean"));
    EXPECT_THAT(why_not(R"("merges":[)", R"("merges":["zq qz",)"),
                HasSubstr("model.merges[0]: token \"zq\" is not in the vocabulary"));
    EXPECT_THAT(why_not(R"("merges":[)", R"("merges":["! !",)"), HasSubstr("token \"!!\" is not"));
    EXPECT_THAT(why_not(R"("merges":[)", R"("merges":["a",)"), HasSubstr("is not a pair"));
    EXPECT_THAT(why_not(R"("merges":[)", R"("merges":["a b c",)"), HasSubstr("is not a pair"));
    EXPECT_THAT(why_not(R"("merges":[)", R"("merges":[["a"],)"), HasSubstr("is not a pair"));
    EXPECT_THAT(why_not(R"("merges":[)", R"("merges":[7,)"),
                HasSubstr("merges[0]: is not a string"));
    EXPECT_THAT(why_not(R"("vocab":{)", R"("vocab":[],"v":{)"),
                HasSubstr("vocab: is not an object"));
    EXPECT_THAT(why_not(R"("merges":[)", R"("m":[)"), HasSubstr("model.merges: is missing"));
    EXPECT_THAT(why_not(R"("decoder":{)", R"("d":{)"), HasSubstr("decoder.type: is missing"));
}

TEST(TokenizerFile, RefusesMissingTruncatedAndForeignFiles) {
    const auto missing = load_tokenizer("/nowhere", 1024);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, base::Code::not_found);
    EXPECT_THAT(missing.error().what, HasSubstr("/nowhere/tokenizer.json: there is no such file"));
    const base::testing::TemporaryFolder folder;
    std::filesystem::create_directory(folder.path() + "/tokenizer.json");
    EXPECT_THAT(load_tokenizer(folder.path(), 1024).error().what, HasSubstr("cannot be read"));

    const std::string sound = tokenizer_json();
    for (std::size_t length = 0; length + 2 < sound.size(); length += 97) {
        const auto result = load_text(sound.substr(0, length));
        ASSERT_FALSE(result) << length;
        EXPECT_THAT(result.error().what, HasSubstr("tokenizer.json: is not sound JSON"));
    }
    for (const std::string json : {"{}", "[]", "null", "7", "\"text\""})
        EXPECT_THAT(load_text(json).error().what, HasSubstr("pre_tokenizer.type: is missing"));
}

TEST(TokenizerFile, SurvivesDamage) {
    base::testing::expect_survives_damage(
        tokenizer_json(), "tokenizer.json: ", [](const std::string& damaged) {
            auto tokenizer = load_text(damaged);
            if (tokenizer) (*tokenizer)->encode("Every morning, e\u0301! <think> 123");
            return tokenizer;
        });
}

}  // namespace holdfast::text
