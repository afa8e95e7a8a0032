#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "common/base/test_damage.h"
#include "common/base/test_folder.h"
#include "inference/tensor/test_gguf.h"
#include "inference/text/golden_test.h"
#include "inference/text/tokenizer.h"

namespace holdfast::text {
namespace {

using tensor::gguf::ValueType;
using tensor::testing::GgufBytes;
using tensor::testing::raw;
using testing::HasSubstr;

// What a converter writes for a tokenizer.json.
struct Parts {
    std::string model = "gpt2", splitter = "qwen2";
    std::vector<std::string> tokens, merges;
    std::vector<std::int32_t> types;
    std::uint32_t bos = 0, eos = 0;
};

void place(Parts& parts, std::int64_t id, std::string_view token, std::int32_t type) {
    const auto row = static_cast<std::size_t>(id);
    for (std::size_t next = parts.tokens.size(); next <= row; ++next) {
        parts.tokens.push_back("[PAD" + std::to_string(next) + "]");
        parts.types.push_back(5);
    }
    parts.tokens[row] = token;
    parts.types[row] = type;
}

// Of one of the golden folders, without the tokens that are looked for after normalisation: GGUF
// has no word for them.
Parts parts_of(const std::string& folder) {
    simdjson::dom::parser parser;
    const simdjson::dom::element file =
        parser.load(golden_folder + "/" + folder + "/tokenizer.json");
    Parts parts;
    if (folder == "llama3") parts.splitter = "llama-bpe";
    for (const auto [token, id] : file["model"]["vocab"].get_object()) place(parts, id, token, 1);
    for (const simdjson::dom::element token : file["added_tokens"]) {
        if (token["normalized"]) continue;
        const std::string_view content = token["content"];
        const bool looks_special = token["special"] || content.starts_with("<｜");
        place(parts, token["id"], content, looks_special ? 3 : 4);
        const auto id = static_cast<std::uint32_t>(token["id"].get_int64());
        if (content == "<｜begin▁of▁sentence｜>") parts.bos = id;
        if (content == "<｜end▁of▁sentence｜>") parts.eos = id;
    }
    place(parts, static_cast<std::int64_t>(parts.tokens.size()) + 2, "[PADDED]", 5);
    for (const simdjson::dom::element merge : file["model"]["merges"]) {
        if (merge.is_string()) {
            parts.merges.emplace_back(std::string_view(merge));
        } else {
            parts.merges.push_back(std::string(std::string_view(merge.at(0))) + " " +
                                   std::string(std::string_view(merge.at(1))));
        }
    }
    return parts;
}

GgufBytes bytes_of(const Parts& parts) {
    std::string types;
    for (const std::int32_t type : parts.types) types += raw(type);
    GgufBytes file;
    file.text("tokenizer.ggml.model", parts.model)
        .text("tokenizer.ggml.pre", parts.splitter)
        .texts("tokenizer.ggml.tokens", parts.tokens)
        .array("tokenizer.ggml.token_type", ValueType::int32, parts.types.size(), types)
        .texts("tokenizer.ggml.merges", parts.merges)
        .integer("tokenizer.ggml.bos_token_id", parts.bos)
        .integer("tokenizer.ggml.eos_token_id", parts.eos);
    return file;
}

using TokenizerResult = base::Result<std::shared_ptr<const Tokenizer>>;

TokenizerResult load(const std::string& bytes, TokenId vocab_rows = 1 << 20) {
    const base::testing::TemporaryFolder folder;
    folder.write("model.gguf", bytes);
    return load_tokenizer(folder.path() + "/model.gguf", vocab_rows);
}

std::string why_not(const Parts& parts, TokenId vocab_rows = 1 << 20) {
    const auto result = load(bytes_of(parts).bytes(), vocab_rows);
    return result ? "it was accepted" : result.error().what;
}

template <class Change>
std::string why_not(Change change) {
    Parts parts = parts_of("qwen2");
    change(parts);
    return why_not(parts);
}

std::vector<std::string> split(const std::string& text, const std::string& separator) {
    std::vector<std::string> pieces;
    std::size_t begin = 0;
    for (std::size_t at = 0; (at = text.find(separator, begin)) != std::string::npos;
         begin = at + separator.size())
        pieces.push_back(text.substr(begin, at - begin));
    return pieces;
}

}  // namespace

TEST(GgufTokenizer, GivesTheSameIdsAsTheTokenizerJsonOfTheSameModel) {
    simdjson::dom::parser parser;
    const simdjson::dom::element golden = parser.load(golden_folder + "/ids.json");
    for (const std::string folder : {"qwen2", "llama3"}) {
        const auto gguf = load(bytes_of(parts_of(folder)).bytes());
        ASSERT_TRUE(gguf) << gguf.error().what;
        const auto json = load_tokenizer(golden_folder + "/" + folder, 1 << 20);
        ASSERT_TRUE(json) << json.error().what;
        const TokenId lost = (*json)->find("e\u0301!").value();
        std::size_t compared = 0;
        for (const simdjson::dom::element family : golden["families"]) {
            for (const simdjson::dom::element one : family["cases"]) {
                const auto ids = (*json)->encode(std::string_view(one["text"]));
                if (std::ranges::find(ids, lost) != ids.end()) continue;
                EXPECT_EQ((*gguf)->encode(std::string_view(one["text"])), ids);
                ++compared;
            }
        }
        EXPECT_GT(compared, 700U);
        for (TokenId id = 0; id < (*json)->size(); ++id) {
            if (id == lost) continue;
            EXPECT_EQ((*gguf)->bytes(id), (*json)->bytes(id));
            EXPECT_EQ((*gguf)->is_special(id), (*json)->is_special(id)) << (*json)->bytes(id);
        }
        EXPECT_EQ((*gguf)->size(), (*json)->size() - 1);
    }
}

// The vectors of llama.cpp for the vocabularies in full size.
TEST(GgufTokenizer, GivesTheIdsOfFullVocabularies) {
    const std::string data = HOLDFAST_SOURCE_DIR "/../shared/data/vocab-";
    for (const std::string name : {"qwen2", "llama-bpe"}) {
        if (!std::filesystem::exists(data + name + ".gguf"))
            GTEST_SKIP() << data << name << ".gguf is missing";
        const auto tokenizer = load_tokenizer(data + name + ".gguf", 151'936);
        ASSERT_TRUE(tokenizer) << tokenizer.error().what;
        const auto texts = split(read_file(data + name + ".inp"), "\n__ggml_vocab_test__\n");
        const auto answers = split(read_file(data + name + ".out"), "\n");
        ASSERT_EQ(texts.size(), answers.size());
        ASSERT_GT(texts.size(), 40U);
        for (std::size_t i = 0; i < texts.size(); ++i) {
            std::istringstream line(answers[i]);
            const std::vector<TokenId> ids{std::istream_iterator<TokenId>(line), {}};
            EXPECT_EQ((*tokenizer)->encode(texts[i]), ids) << texts[i];
        }
        EXPECT_FALSE((*tokenizer)->exists(151'935));
    }
}

TEST(GgufTokenizer, KnowsWhichTokensShowInAnAnswer) {
    Parts parts = parts_of("qwen2");
    const auto think = static_cast<TokenId>(parts.tokens.size());
    place(parts, think, "<｜tool calls begin｜>", 4);  // as older converters write it
    place(parts, think + 1, "<｜Tool｜>", 3);
    place(parts, think + 2, "<|fim|>", 3);
    place(parts, think + 3, "[PAD" + std::to_string(think + 3) + "]", 4);
    const auto loaded = load(bytes_of(parts).bytes());
    ASSERT_TRUE(loaded) << loaded.error().what;
    const Tokenizer& tokenizer = **loaded;
    EXPECT_EQ(tokenizer.encode("<｜tool▁calls▁begin｜><｜Tool｜>"),
              (std::vector<TokenId>{think, think + 1}));
    EXPECT_FALSE(tokenizer.is_special(think));
    EXPECT_FALSE(tokenizer.is_special(think + 1));
    EXPECT_TRUE(tokenizer.is_special(think + 2));
    EXPECT_TRUE(tokenizer.is_special(tokenizer.find("<｜begin▁of▁sentence｜>").value()));
    EXPECT_FALSE(tokenizer.exists(think + 3));
    EXPECT_GT(tokenizer.encode("[PAD" + std::to_string(think + 3) + "]").size(), 1U);
}

TEST(GgufTokenizer, RefusesWhatWouldGiveOtherIds) {
    EXPECT_THAT(why_not([](Parts& parts) { parts.model = "llama"; }),
                HasSubstr("model.gguf: tokenizer.ggml.model: \"llama\" is not supported"));
    EXPECT_THAT(
        why_not([](Parts& parts) { parts.splitter = "deepseek-llm"; }),
        HasSubstr("tokenizer.ggml.pre: \"deepseek-llm\" is not supported; known are qwen2"));
    for (const std::string splitter : {"deepseek-r1-qwen", "llama3", "llama-bpe"})
        EXPECT_EQ(why_not([&](Parts& parts) { parts.splitter = splitter; }), "it was accepted");
}

TEST(GgufTokenizer, NamesKeyAndReasonForDamage) {
    EXPECT_THAT(why_not([](Parts& parts) { parts.types.pop_back(); }),
                HasSubstr("tokenizer.ggml.token_type: has 609 elements for 610 tokens"));
    EXPECT_THAT(why_not([](Parts& parts) { parts.types[7] = 6; }), HasSubstr("type 6 of token"));
    EXPECT_THAT(why_not([](Parts& parts) { parts.types[7] = 5; }), HasSubstr("no token for the"));
    EXPECT_THAT(why_not([](Parts& parts) { parts.tokens[300] = parts.tokens[301]; }),
                HasSubstr("is listed twice"));
    EXPECT_THAT(why_not([](Parts& parts) { parts.tokens[300].clear(); }),
                HasSubstr("the token of id 300 is empty"));
    EXPECT_THAT(why_not([](Parts& parts) { parts.merges[0] = "zq qz"; }),
                HasSubstr("tokenizer.ggml.merges: token \"zq\" is not in the vocabulary"));
    EXPECT_THAT(why_not([](Parts& parts) { parts.merges[0] = "a b c"; }),
                HasSubstr("is not a pair"));
    EXPECT_THAT(why_not(parts_of("qwen2"), 600), HasSubstr("are more than the model's 600 rows"));
    EXPECT_THAT(load(GgufBytes().bytes()).error().what,
                HasSubstr("tokenizer.ggml.model: is missing"));
    EXPECT_THAT(load(GgufBytes().text("tokenizer.ggml.model", "gpt2").bytes()).error().what,
                HasSubstr("tokenizer.ggml.pre: is missing"));
    EXPECT_THAT(load("GGUF").error().what, HasSubstr("model.gguf"));
    EXPECT_THAT(load_tokenizer("/nowhere/model.gguf", 1).error().what, HasSubstr("/nowhere/model"));
}

namespace {

base::Result<ChatTemplate> load_template(const GgufBytes& file, const std::string& choice = "") {
    const base::testing::TemporaryFolder folder;
    folder.write("model.gguf", file.bytes());
    return ChatTemplate::load(folder.path() + "/model.gguf", choice);
}

}  // namespace

TEST(GgufChatTemplate, IsRecognisedInTheMetadata) {
    simdjson::dom::parser parser;
    const simdjson::dom::element config =
        parser.load(HOLDFAST_SOURCE_DIR "/models/tiny-r1/tokenizer_config.json");
    const auto known = load_template(
        bytes_of(parts_of("qwen2")).text("tokenizer.chat_template", config["chat_template"]));
    ASSERT_TRUE(known) << known.error().what;
    EXPECT_EQ(known->render({}), "<｜begin▁of▁sentence｜><｜Assistant｜><think>\n");

    const auto unknown =
        load_template(bytes_of(parts_of("qwen2")).text("tokenizer.chat_template", "{{ x }}"));
    EXPECT_THAT(unknown.error().what,
                HasSubstr("model.gguf: tokenizer.chat_template: the chat template is unknown"));
    const auto none = load_template(bytes_of(parts_of("qwen2")));
    EXPECT_THAT(none.error().what, HasSubstr("tokenizer.chat_template: is missing; known are"));
    const auto chosen = load_template(bytes_of(parts_of("qwen2")), "deepseek-r1-distill-no-think");
    ASSERT_TRUE(chosen) << chosen.error().what;
    EXPECT_EQ(chosen->render({}), "<｜begin▁of▁sentence｜><｜Assistant｜>");
}

TEST(GgufTokenizer, SurvivesDamage) {
    base::testing::expect_survives_damage(
        bytes_of(parts_of("qwen2")).bytes(), "model.gguf: ", [](const std::string& damaged) {
            auto tokenizer = load(damaged);
            if (tokenizer) (*tokenizer)->encode("Every morning, e\u0301! <think> 123");
            return tokenizer;
        });
}

TEST(GgufChatTemplate, TakesTheBeginningOfSequenceTokenFromTheMetadataIfThereIsOne) {
    Parts parts = parts_of("qwen2");
    parts.bos = 5'000;
    EXPECT_THAT(load_template(bytes_of(parts), "deepseek-r1").error().what,
                HasSubstr("tokenizer.ggml.bos_token_id: 5000 is the id of no token"));
    const auto without = load_template(GgufBytes(), "deepseek-r1");
    ASSERT_TRUE(without) << without.error().what;
    const chat::Message message{chat::Role::user, "Hello"};
    EXPECT_TRUE(without->render({&message, 1}).starts_with("<｜User｜>"));
}

TEST(GgufTokenizer, BeginsATextAsTheMetadataSayOrAsItsFamilyDoes) {
    const auto beginning = [](const GgufBytes& file) {
        const auto tokenizer = load(file.bytes());
        EXPECT_TRUE(tokenizer) << tokenizer.error().what;
        const auto ids = (*tokenizer)->beginning();
        return std::vector<TokenId>(ids.begin(), ids.end());
    };
    const auto flagged = [](const Parts& parts, bool adds) {
        GgufBytes file = bytes_of(parts);
        file.flag("tokenizer.ggml.add_bos_token", adds);
        return file;
    };
    const Parts qwen = parts_of("qwen2"), llama = parts_of("llama3");
    const auto id = [](const Parts& parts) { return static_cast<TokenId>(parts.bos); };
    EXPECT_TRUE(beginning(bytes_of(qwen)).empty());
    EXPECT_EQ(beginning(flagged(qwen, true)), std::vector{id(qwen)});
    EXPECT_EQ(beginning(bytes_of(llama)), std::vector{id(llama)});
    EXPECT_TRUE(beginning(flagged(llama, false)).empty());
}

}  // namespace holdfast::text
