#include "common/dialect/tokenization.h"

#include <gtest/gtest.h>

namespace holdfast::dialect {
namespace {

std::string field_of(std::string_view body) {
    const auto request = parse_tokenize(body);
    return request ? "it was accepted" : request.error().field;
}

}  // namespace

TEST(Tokenization, NamesTheFieldThatIsWrong) {
    EXPECT_EQ(field_of("{}"), "prompt");
    EXPECT_EQ(field_of(R"({"prompt":"a","messages":[{"role":"user","content":"b"}]})"), "prompt");
    EXPECT_EQ(field_of(R"({"prompt":["a"]})"), "prompt");
    EXPECT_EQ(field_of(R"({"prompt":"a","model":5})"), "model");
    EXPECT_EQ(field_of(R"({"prompt":"a","add_special_tokens":"yes"})"), "add_special_tokens");
    EXPECT_EQ(field_of(R"({"messages":[{"role":"nobody","content":"b"}]})"), "messages[0].role");
    EXPECT_EQ(field_of(R"({"messages":[{"role":"user","content":"b"}],"tools":[{}]})"), "tools");
    EXPECT_EQ(field_of(R"({"prompt":"a","chat_template":"x"})"), "chat_template");
    EXPECT_EQ(field_of(R"({"messages":[{"role":"user","content":"b"}],
                           "continue_final_message":true})"),
              "continue_final_message");
    EXPECT_EQ(field_of(R"({"prompt":"a","model":null,"tools":[],"unknown":1})"), "it was accepted");
    for (const std::string_view body : {"", "[]", "7", "{\"prompt\":", "null"})
        EXPECT_FALSE(parse_tokenize(body)) << body;
    EXPECT_EQ(parse_detokenize("{}").error().field, "tokens");
    EXPECT_EQ(parse_detokenize(R"({"tokens":[1,-1]})").error().field, "tokens[1]");
    EXPECT_EQ(parse_detokenize(R"({"tokens":"1"})").error().field, "tokens");
}

TEST(Tokenization, AddsSpecialTokensByDefaultToPromptsOnly) {
    EXPECT_TRUE(parse_tokenize(R"({"prompt":"a"})")->add_special_tokens);
    EXPECT_FALSE(
        parse_tokenize(R"({"messages":[{"role":"user","content":"b"}]})")->add_special_tokens);
}

TEST(Tokenization, WritesAnswersInVllmsForm) {
    EXPECT_EQ(render_tokenized({{5, 6}, 4096, {{"a", "Ġb"}}}),
              R"({"count":2,"max_model_len":4096,"tokens":[5,6],"token_strs":["a","Ġb"]})");
    EXPECT_EQ(render_tokenized({{5, 6}, 0, {}}),
              R"({"count":2,"max_model_len":0,"tokens":[5,6],"token_strs":null})");
    EXPECT_EQ(render_detokenized("x\"y"), R"({"prompt":"x\"y"})");
}

}  // namespace holdfast::dialect
