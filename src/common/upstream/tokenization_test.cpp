#include "common/upstream/tokenization.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::upstream {
namespace {

using testing::ElementsAre;

std::string body_of(std::string_view body, const Kind& kind) {
    const auto request = dialect::parse_tokenize(body);
    EXPECT_TRUE(request) << request.error().what;
    const auto call = encode(*request, kind, "up");
    return call ? call->body : call.error().tag;
}

}  // namespace

TEST(Tokenization, AsksEachKindInItsOwnWords) {
    const std::string_view prompt = R"({"model":"m","prompt":"a\"b","return_token_strs":true})";
    for (const Kind* kind : {&holdfast_kind, &vllm_kind})
        EXPECT_EQ(body_of(prompt, *kind),
                  R"({"model":"up","prompt":"a\"b","add_special_tokens":true,)"
                  R"("return_token_strs":true})");
    EXPECT_EQ(body_of(prompt, llama_server_kind),
              R"({"content":"a\"b","add_special":true,"with_pieces":true})");
    EXPECT_EQ(body_of(prompt, openai_kind), "not_implemented");

    const std::string_view messages =
        R"({"messages":[{"role":"system","content":"s"},{"role":"assistant","content":"b"}],
            "add_generation_prompt":false,"continue_final_message":true})";
    EXPECT_EQ(body_of(messages, vllm_kind),
              R"({"model":"up","messages":[{"role":"system","content":"s"},)"
              R"({"role":"assistant","content":"b"}],"add_generation_prompt":false,)"
              R"("continue_final_message":true,"add_special_tokens":false,)"
              R"("return_token_strs":false})");
    EXPECT_EQ(body_of(messages, llama_server_kind), "not_implemented");

    const auto tokens = dialect::parse_detokenize(R"({"model":"m","tokens":[1,2]})");
    EXPECT_EQ(encode(*tokens, vllm_kind, "up")->body, R"({"model":"up","tokens":[1,2]})");
    EXPECT_EQ(encode(*tokens, llama_server_kind, "up")->body, R"({"tokens":[1,2]})");
    EXPECT_FALSE(encode(*tokens, openai_kind, "up"));
}

TEST(Tokenization, ReadsWhatEachKindAnswers) {
    const auto vllm = read_tokenized(
        R"({"count":2,"max_model_len":4096,"tokens":[5,6],"token_strs":["a","Ġb"]})");
    ASSERT_TRUE(vllm);
    EXPECT_THAT(vllm->tokens, ElementsAre(5, 6));
    EXPECT_EQ(vllm->context, 4096U);
    EXPECT_EQ(dialect::render_tokenized(*vllm),
              R"({"count":2,"max_model_len":4096,"tokens":[5,6],"token_strs":["a","Ġb"]})");
    const auto plain = read_tokenized(R"({"tokens":[5,6]})");
    ASSERT_TRUE(plain);
    EXPECT_EQ(dialect::render_tokenized(*plain),
              R"({"count":2,"max_model_len":0,"tokens":[5,6],"token_strs":null})");
    const auto pieces =
        read_tokenized(R"({"tokens":[{"id":5,"piece":"a"},{"id":6,"piece":[195,169]}]})");
    ASSERT_TRUE(pieces);
    EXPECT_THAT(*pieces->token_texts, ElementsAre("a", "é"));
    EXPECT_EQ(*read_detokenized(R"({"prompt":"x"})"), "x");
    EXPECT_EQ(*read_detokenized(R"({"content":"x"})"), "x");
}

TEST(Tokenization, TakesNoStrangeAnswerForTokens) {
    for (const std::string_view body :
         {"", "{}", "[]", "<html>", R"({"tokens":7})", R"({"tokens":["a"]})", R"({"tokens":[-1]})",
          R"({"tokens":[{"piece":"a"}]})", R"({"tokens":[1],"token_strs":["a","b"]})",
          R"({"tokens":[{"id":1,"piece":[256]}]})"}) {
        const auto answer = read_tokenized(body);
        ASSERT_FALSE(answer) << body;
        EXPECT_EQ(answer.error().code, base::Code::corrupt);
        EXPECT_EQ(answer.error().origin, base::Origin::instance);
        EXPECT_FALSE(read_detokenized(body)) << body;
    }
}

}  // namespace holdfast::upstream
