#include "common/upstream/raw.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::upstream {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const RawForm& llama() { return *llama_server_kind.raw; }
const RawForm& vllm() { return *vllm_kind.raw; }

struct Asked {
    RawPrompt prompt;
    std::vector<RawRun> said;
    std::uint32_t said_tokens = 0;
    chat::Sampling sampling;
    chat::Stopping stopping;
    std::optional<std::uint32_t> logprobs;

    std::string body(const RawForm& form) const {
        return form.generate({"m", prompt, said, said_tokens, sampling, stopping, logprobs}).body;
    }
};

TEST(RawForms, AreThereForServersThatTellTheirPrompt) {
    EXPECT_EQ(holdfast_kind.raw, nullptr);
    EXPECT_EQ(openai_kind.raw, nullptr);
    const std::vector<chat::Message> messages{{chat::Role::system, "Be brief.", ""},
                                              {chat::Role::user, "Hi\n", ""}};
    const Call of_llama = llama().render("m", messages);
    EXPECT_EQ(of_llama.path, "/apply-template");
    EXPECT_EQ(of_llama.body, R"({"messages":[{"role":"system","content":"Be brief."},)"
                             R"({"role":"user","content":"Hi\n"}]})");
    const Call of_vllm = vllm().render("m", messages);
    EXPECT_EQ(of_vllm.path, "/tokenize");
    EXPECT_THAT(of_vllm.body, HasSubstr(R"("add_generation_prompt":true)"));
}

TEST(RawForms, SeeWhetherThePromptOpensTheThinking) {
    const auto of_llama = llama().read_rendered(R"({"prompt":"<U>Hi<A><think>\n"})");
    ASSERT_TRUE(of_llama);
    EXPECT_EQ(of_llama->text, "<U>Hi<A><think>\n");
    EXPECT_TRUE(of_llama->opens_thinking);
    EXPECT_FALSE(llama().read_rendered(R"({"prompt":"<U>Hi<A>"})")->opens_thinking);
    const auto of_vllm = vllm().read_rendered(
        R"({"count":3,"max_model_len":4096,"tokens":[7,8,9],"token_strs":["Hi","<think>","Ċ"]})");
    ASSERT_TRUE(of_vllm);
    EXPECT_THAT(of_vllm->ids, ElementsAre(7, 8, 9));
    EXPECT_EQ(of_vllm->context, 4096U);
    EXPECT_TRUE(of_vllm->opens_thinking);
    EXPECT_FALSE(vllm().read_rendered(R"({"tokens":[7],"token_strs":["Hi"]})")->opens_thinking);
}

TEST(RawForms, RefuseWhatIsNoPrompt) {
    for (const std::string_view bad :
         {"", "[]", "{}", R"({"prompt":5})", R"({"tokens":[]})", R"({"tokens":["a"]})",
          R"({"tokens":[16777216]})", R"({"tokens":[1],"max_model_len":-1})"}) {
        for (const RawForm* form : {&llama(), &vllm()}) {
            const auto read = form->read_rendered(bad);
            ASSERT_FALSE(read) << bad;
            EXPECT_EQ(read.error().code, base::Code::corrupt);
            EXPECT_EQ(read.error().origin, base::Origin::instance);
        }
    }
}

TEST(RawForms, GoOnAfterPromptAndIds) {
    Asked asked{.prompt = {.text = "Once"}, .said = {{{5, 6}, ""}, {{}, "你"}, {{7}, ""}}};
    asked.said_tokens = 6;
    EXPECT_THAT(asked.body(llama()), HasSubstr(R"("prompt":["Once",5,6,"你",7])"));
    asked.prompt = {.text = "", .ids = {1, 2}};
    EXPECT_THAT(asked.body(llama()), HasSubstr(R"("prompt":[1,2,5,6,"你",7])"));
    asked.said.erase(asked.said.begin() + 1);
    EXPECT_THAT(asked.body(vllm()), HasSubstr(R"("prompt":[1,2,5,6,7])"));
}

TEST(RawForms, AskForWhatIsLeft) {
    Asked asked{.prompt = {.text = "Once", .ids = {1}}};
    asked.stopping.max_tokens = 100;
    asked.stopping.min_tokens = 50;
    asked.stopping.stop = {"END"};
    asked.stopping.stop_token_ids = {9};
    EXPECT_THAT(asked.body(llama()), HasSubstr(R"("n_predict":100)"));
    EXPECT_THAT(asked.body(vllm()), HasSubstr(R"("max_tokens":100,"min_tokens":50)"));
    asked.said_tokens = 60;
    EXPECT_THAT(asked.body(llama()), HasSubstr(R"("n_predict":40)"));
    const std::string body = asked.body(vllm());
    EXPECT_THAT(body, HasSubstr(R"("max_tokens":40,"stop_token_ids":[9])"));
    // Stop strings are found by the gateway.
    EXPECT_THAT(body, Not(HasSubstr("END")));
    EXPECT_THAT(asked.body(llama()), Not(HasSubstr("END")));
}

TEST(RawForms, TakeTheWholeContextWhereNoLimitWasGiven) {
    Asked asked{.prompt = {.text = "", .ids = {1, 2, 3}, .opens_thinking = true, .context = 4096}};
    asked.said_tokens = 93;
    EXPECT_THAT(asked.body(vllm()), HasSubstr(R"("max_tokens":4000)"));
}

TEST(RawForms, NeverUseRandomNumbersTwice) {
    Asked asked{.prompt = {.text = "Once"}};
    asked.sampling.seed = 42;
    EXPECT_THAT(asked.body(llama()), HasSubstr(R"("seed":42)"));
    EXPECT_THAT(asked.body(vllm()), HasSubstr(R"("seed":42)"));
    asked.said_tokens = 10;
    const std::string ten = asked.body(vllm());
    EXPECT_THAT(ten, Not(HasSubstr(R"("seed":42,)")));
    EXPECT_EQ(asked.body(vllm()), ten);
    asked.said_tokens = 11;
    EXPECT_NE(asked.body(vllm()).substr(ten.find("seed")), ten.substr(ten.find("seed")));
}

TEST(RawForms, WriteTheBiasAsEachKindWantsIt) {
    Asked asked{.prompt = {.text = "Once"}};
    asked.sampling.logit_bias = {{5, 1.5F}};
    EXPECT_THAT(asked.body(llama()), HasSubstr(R"("logit_bias":[[5,1.5]])"));
    EXPECT_THAT(asked.body(vllm()), HasSubstr(R"("logit_bias":{"5":1.5})"));
}

TEST(RawForms, ReadEventsOfLlamaServer) {
    auto piece = llama().read(
        R"({"index":0,"content":"题","tokens":[621],"stop":false,"id_slot":-1,"tokens_predicted":3,)"
        R"("tokens_evaluated":15,"completion_probabilities":[{"id":621,"token":"题",)"
        R"("bytes":[233,162,152],"logprob":-1.5,"top_logprobs":[{"id":2,"token":"a","bytes":[97],)"
        R"("logprob":-0.5}]}]})");
    ASSERT_TRUE(piece) << piece.error().what;
    EXPECT_EQ(piece->text, "题");
    EXPECT_THAT(piece->ids, ElementsAre(621));
    EXPECT_EQ(piece->tokens, 3U);
    EXPECT_EQ(piece->prompt_tokens, 15U);
    ASSERT_EQ(piece->scores.size(), 1U);
    EXPECT_EQ(piece->scores[0].bytes, "题");
    EXPECT_EQ(piece->scores[0].top.at(0).bytes, "a");
    EXPECT_FALSE(piece->finish || piece->done);

    const auto end = [](std::string_view why) {
        return llama().read(fmt::format(
            R"({{"content":"","tokens":[],"stop":true,"stop_type":"{}","tokens_predicted":130}})",
            why));
    };
    EXPECT_EQ(end("eos")->finish, chat::FinishReason::stop);
    EXPECT_EQ(end("limit")->finish, chat::FinishReason::length);
    EXPECT_TRUE(end("eos")->done);
    EXPECT_EQ(end("none").error().code, base::Code::unavailable);
}

TEST(RawForms, ReadEventsOfVllm) {
    auto piece = vllm().read(
        R"({"id":"c","choices":[{"index":0,"text":" user","logprobs":{"text_offset":[0],)"
        R"("token_logprobs":[-0.5],"tokens":[" user"],"top_logprobs":[{"a":-2.0," user":-0.5}]},)"
        R"("finish_reason":null,"prompt_token_ids":[995,993],"token_ids":[824,7]}]})");
    ASSERT_TRUE(piece) << piece.error().what;
    EXPECT_EQ(piece->text, " user");
    EXPECT_THAT(piece->ids, ElementsAre(824, 7));
    EXPECT_THAT(piece->prompt_ids, ElementsAre(995, 993));
    EXPECT_EQ(piece->scores.at(0).top.at(0).bytes, " user");
    EXPECT_FALSE(piece->finish || piece->done);
    piece = vllm().read(R"({"choices":[{"index":0,"text":"","finish_reason":"length"}]})");
    EXPECT_EQ(piece->finish, chat::FinishReason::length);
    EXPECT_FALSE(piece->done);
    EXPECT_FALSE(vllm().read(R"({"choices":[],"usage":{"prompt_tokens":1}})")->done);
    EXPECT_TRUE(vllm().read("[DONE]")->done);
    EXPECT_EQ(vllm().read(R"({"choices":[{"text":"","finish_reason":"abort"}]})").error().code,
              base::Code::unavailable);
}

TEST(RawForms, ReadHowFarAnEngineIs) {
    EXPECT_TRUE(llama().progress_path.empty());
    EXPECT_EQ(vllm().read_progress("# HELP vllm:prompt_tokens_total x\n"
                                   "vllm:num_requests_running{engine=\"0\"} 2.0\n"
                                   "vllm:prompt_tokens_total{engine=\"0\"} 10.0\n"
                                   "vllm:generation_tokens_total{engine=\"0\"} 1.5e+03\n"
                                   "vllm:iteration_tokens_total_count{engine=\"0\"} 7"),
              1517);
    EXPECT_EQ(vllm().read_progress("nothing of it\n\nvllm:prompt_tokens_total\n"), std::nullopt);
}

TEST(RawForms, FitOneChoiceThatRepeatsNoPrompt) {
    chat::Generation chat;
    chat::Generation text;
    text.prompt = "Once";
    Peer peer(vllm_kind);
    EXPECT_FALSE(fits_raw(peer, text));
    peer.offer.tells_ids = true;
    EXPECT_TRUE(fits_raw(peer, text));
    EXPECT_FALSE(fits_raw(peer, chat));
    peer.offer.renders = true;
    EXPECT_TRUE(fits_raw(peer, chat));
    chat.choices = 2;
    EXPECT_FALSE(fits_raw(peer, chat));
    text.echo = true;
    EXPECT_FALSE(fits_raw(peer, text));
    text.echo = false;
    EXPECT_TRUE(fits_raw(llama_server_kind, text));
    EXPECT_FALSE(fits_raw(openai_kind, text));
    EXPECT_FALSE(fits_raw(holdfast_kind, text));
}

TEST(RawForms, RepeatWhatNoChanceDecides) {
    chat::Sampling sampling;
    EXPECT_FALSE(repeats_exactly(vllm(), sampling));
    sampling.top_k = 1;
    EXPECT_TRUE(repeats_exactly(vllm(), sampling));
    sampling.presence_penalty = 0.5;
    EXPECT_FALSE(repeats_exactly(vllm(), sampling));
    EXPECT_TRUE(repeats_exactly(llama(), sampling));
}

TEST(RawForms, TakeErrorsInAStreamForWhatTheyAre) {
    for (const RawForm* form : {&llama(), &vllm()}) {
        const auto read = form->read(R"({"error":{"message":"EngineDead","code":500}})");
        ASSERT_FALSE(read);
        EXPECT_EQ(read.error().what, "EngineDead");
        EXPECT_EQ(read.error().origin, base::Origin::instance);
        EXPECT_EQ(read.error().retry, base::Retry::elsewhere);
    }
}

TEST(RawForms, RefuseWhatIsNoEvent) {
    for (const std::string_view bad :
         {"", "null", "[]", "{}", "\xFF", R"({"choices":5})", R"({"stop":5})",
          R"({"stop":false,"content":5})", R"({"choices":[{"text":5}]})",
          R"({"stop":false,"content":"a","tokens":[16777216]})",
          R"({"choices":[{"text":"a","token_ids":[-1]}]})",
          R"({"choices":[{"text":"a","token_ids":"1"}]})",
          R"({"stop":false,"content":"a","tokens_predicted":99999999999})",
          R"({"stop":true,"content":"a"})",
          R"({"choices":[{"text":"a","logprobs":{"tokens":["a"],"token_logprobs":[]}}]})"}) {
        for (const RawForm* form : {&llama(), &vllm()}) {
            const auto read = form->read(bad);
            ASSERT_FALSE(read) << bad;
            EXPECT_EQ(read.error().code, base::Code::corrupt) << bad;
            EXPECT_EQ(read.error().origin, base::Origin::instance);
        }
    }
}

}  // namespace
}  // namespace holdfast::upstream
