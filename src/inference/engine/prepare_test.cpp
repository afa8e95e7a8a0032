#include "inference/engine/prepare.h"

#include <gtest/gtest.h>

#include "inference/engine/fakes.h"

namespace holdfast::engine {
namespace {

class PreparerTest : public testing::Test {
protected:
    base::Error refusal(const chat::Generation& wrong) const {
        const auto group = preparer.prepare(wrong);
        EXPECT_FALSE(group);
        return group ? base::Error{} : group.error();
    }
    FakeTokenizer tokenizer;
    FakeModel model{{.blocks = 8, .context = 200}};
    Preparer preparer{tokenizer, text::ChatTemplate(), model.shape(), 8 * block_tokens};
    chat::Generation request{.prompt = std::string("Hello")};
};

}  // namespace

TEST_F(PreparerTest, PutsTheBeginningOfSequenceBeforeTextOnceAndLeavesIdsAlone) {
    EXPECT_EQ(preparer.prepare(request).value()->prompt_tokens, 6U);
    request.prompt = std::string("<｜begin▁of▁sentence｜>Hello");
    EXPECT_EQ(preparer.prepare(request).value()->prompt_tokens, 6U);
    request.prompt = std::vector<chat::TokenId>{'H', 'i'};
    EXPECT_EQ(preparer.prepare(request).value()->prompt_tokens, 2U);
}

TEST_F(PreparerTest, SaysBothNumbersWhenTheContextIsExceeded) {
    request.stopping.max_tokens = 195;
    base::Error error = refusal(request);
    EXPECT_EQ(error.code, base::Code::invalid);
    EXPECT_EQ(error.tag, "context_length_exceeded");
    EXPECT_EQ(error.field, "prompt");
    EXPECT_EQ(error.what,
              "This model's maximum context length is 200 tokens. However, you requested 201 "
              "tokens (6 in the prompt, 195 for the completion).");
    request.prompt = std::vector<chat::Message>{{.content = std::string(300, 'x')}};
    request.stopping.max_tokens.reset();
    error = refusal(request);
    EXPECT_EQ(error.field, "messages");
    EXPECT_EQ(error.tag, "context_length_exceeded");
}

TEST_F(PreparerTest, RefusesWhatTheKvCacheCanNeverHold) {
    request.stopping.max_tokens = 123;  // 129 of 128 slots
    const base::Error error = refusal(request);
    EXPECT_EQ(error.tag, "context_length_exceeded");
    EXPECT_NE(error.what.find("KV capacity"), std::string::npos);
    request.stopping.max_tokens = 122;
    EXPECT_TRUE(preparer.prepare(request));
    request.stopping.max_tokens = 0xFFFFFFFF;
    EXPECT_EQ(refusal(request).tag, "context_length_exceeded");
}

TEST_F(PreparerTest, RefusesWhatTheDialectCannotKnow) {
    const auto field = [&](auto change) {
        chat::Generation wrong = request;
        change(wrong);
        const base::Error error = refusal(wrong);
        EXPECT_EQ(error.code, base::Code::invalid);
        return error.field;
    };
    EXPECT_EQ(field([](auto& r) { r.sampling.logit_bias = {{299, 1.0F}}; }), "logit_bias");
    EXPECT_EQ(field([](auto& r) { r.sampling.logit_bias = {{-1, 1.0F}}; }), "logit_bias");
    EXPECT_EQ(field([](auto& r) { r.stopping.stop_token_ids = {1 << 30}; }), "stop_token_ids");
    EXPECT_EQ(field([](auto& r) { r.prompt = std::vector<chat::TokenId>{1, 300}; }), "prompt");
    EXPECT_EQ(field([](auto& r) { r.prompt = std::vector<chat::TokenId>{}; }), "prompt");
    EXPECT_EQ(field([](auto& r) { r.stopping.max_tokens = 0; }), "max_tokens");
    EXPECT_EQ(field([](auto& r) {
                  r.echo = true;
                  r.logprobs = 1;
              }),
              "echo");
    EXPECT_EQ(field([](auto& r) {
                  r.echo = true;
                  r.prompt = std::vector<chat::Message>{{.content = "Hi"}};
              }),
              "echo");
}

TEST_F(PreparerTest, MarksChoicesThatResumeAtTheirEndAsFinished) {
    request.choices = 3;
    request.stopping.max_tokens = 2;
    request.resume = chat::Resume{{{'a', 'b'}, {'a'}}};
    const auto group = preparer.prepare(request).value();
    EXPECT_EQ(group->unfinished, 2U);
    EXPECT_EQ(group->sequences[0].phase, Phase::finished);
    EXPECT_EQ(group->sequences[1].ids.size(), 7U);
    EXPECT_EQ(group->sequences[2].ids.size(), 6U);
    EXPECT_EQ(group->usage().completion_tokens, 3U);
}

}  // namespace holdfast::engine
