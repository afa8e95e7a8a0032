#include "tools/eval/evaluate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include <filesystem>
#include <fstream>

#include "common/base/test_folder.h"
#include "tools/eval/report.h"

namespace holdfast::eval {
namespace {

using testing::HasSubstr;

constexpr const char* tiny_path = HOLDFAST_SOURCE_DIR "/models/tiny-r1";

Entrant entrant(std::string name, std::optional<tensor::DataType> weights = std::nullopt,
                tensor::KvType kv_type = tensor::KvType::f32) {
    return {std::move(name), [weights, kv_type](std::uint32_t kv_tokens) {
                model::LoadOptions options;
                options.kv_tokens = kv_tokens;
                options.batch_tokens_max = 48;  // so that passages are cut
                options.weights = weights;
                options.kv_type = kv_type;
                return model::load(tiny_path, options);
            }};
}

Entrant missing() {
    return {"missing", [](std::uint32_t) { return model::load("/nonexistent/r1.gguf", {}); }};
}

class Evaluate : public testing::Test {
protected:
    void SetUp() override {
        auto tokenizer = text::load_tokenizer(tiny_path, 1'024);
        auto chat = text::ChatTemplate::load(tiny_path);
        auto problems = read_problems(std::string(tiny_path) + "/held_out.jsonl");
        ASSERT_TRUE(tokenizer && chat && problems);
        tokenizer_ = *tokenizer;
        chat_.emplace(*std::move(chat));
        problems_ = *std::move(problems);
    }

    Task task(std::size_t problems) const {
        Task task{.problems = {problems_.begin(),
                               problems_.begin() + static_cast<std::ptrdiff_t>(problems)}};
        task.passages = passages_of(task.problems, *tokenizer_, *chat_, 992);
        task.tokens_max = 640;
        return task;
    }

    base::Result<Result> run(const std::vector<Entrant>& entrants, const Task& task) const {
        return evaluate(entrants, *tokenizer_, *chat_, task,
                        [](const Moment& /*moment*/) { return true; });
    }

    std::string file(std::string_view name, std::string_view content) const {
        const std::string path = folder_.path() + "/" + std::string(name);
        std::ofstream(path) << content;
        return path;
    }

    base::testing::TemporaryFolder folder_;
    std::shared_ptr<const text::Tokenizer> tokenizer_;
    std::optional<text::ChatTemplate> chat_;
    std::vector<Problem> problems_;
};

TEST_F(Evaluate, AModelAgreesWithItself) {
    const auto result = run({entrant("a"), entrant("b")}, task(12));
    ASSERT_TRUE(result) << result.error().what;
    ASSERT_EQ(result->scores.size(), 2U);
    const Scores& a = result->scores[0];
    const Scores& b = result->scores[1];
    EXPECT_FALSE(a.agreement);
    ASSERT_TRUE(b.agreement);
    EXPECT_EQ(b.agreement->divergence_sum, 0);
    EXPECT_EQ(b.agreement->same_top, b.agreement->positions);
    EXPECT_EQ(b.agreement->positions, positions_of(task(12).passages));
    EXPECT_EQ(a.likelihood.log_sum, b.likelihood.log_sum);
    EXPECT_LT(a.likelihood.perplexity(), 1.05);  // it was trained to write just this
    ASSERT_TRUE(a.accuracy && b.accuracy);
    EXPECT_EQ(a.accuracy->right, 12U);
    EXPECT_EQ(b.accuracy->all, 12U);
}

TEST_F(Evaluate, QuantizationIsSeen) {
    Task without_problems = task(12);
    without_problems.problems.clear();
    const auto result =
        run({entrant("bf16"), entrant("q8_0", tensor::DataType::q8_0),
             entrant("q4_0", tensor::DataType::q4_0), entrant("KV q8", {}, tensor::KvType::q8)},
            without_problems);
    ASSERT_TRUE(result) << result.error().what;
    const double q8_0 = result->scores[1].agreement->divergence_sum;
    const double q4_0 = result->scores[2].agreement->divergence_sum;
    EXPECT_GT(q8_0, 0);
    EXPECT_GT(q4_0, q8_0);
    EXPECT_GT(result->scores[3].agreement->divergence_sum, 0);
    EXPECT_FALSE(result->scores[1].accuracy);
    EXPECT_NE(result->scores[0].fingerprint, result->scores[1].fingerprint);
}

TEST_F(Evaluate, WhatCannotBeLoadedHasAReasonAndTheRestFigures) {
    const auto result =
        run({entrant("bf16"), missing(), entrant("q8_0", tensor::DataType::q8_0)}, task(2));
    ASSERT_TRUE(result) << result.error().what;
    EXPECT_THAT(result->scores[1].error, HasSubstr("/nonexistent/r1.gguf"));
    EXPECT_TRUE(result->scores[2].agreement);
    const std::string table = to_table("corpus", task(2), *result);
    EXPECT_THAT(table, HasSubstr("missing: "));
    EXPECT_THAT(table, HasSubstr("2/2"));
    simdjson::dom::parser parser;
    const auto root = parser.parse(to_json("corpus", task(2), *result)).value();
    EXPECT_EQ(root["reference"].get_string().value(), "bf16");
    EXPECT_EQ(root["models"].at(2)["relative_accuracy"].get_double().value(), 1.0);
    EXPECT_EQ(root["models"].at(1)["perplexity"].error(), simdjson::NO_SUCH_FIELD);

    EXPECT_FALSE(run({missing()}, task(2)));
}

TEST_F(Evaluate, ARecordStandsForTheModel) {
    Task recording = task(4);
    recording.problems.clear();
    recording.record_path = folder_.path() + "/record.jsonl";
    recording.record_top = 8;
    const auto original = run({entrant("bf16")}, recording);
    ASSERT_TRUE(original) << original.error().what;
    EXPECT_FALSE(std::filesystem::exists(recording.record_path + ".part"));

    auto record = read_record(recording.record_path, 1'024);
    ASSERT_TRUE(record) << record.error().what;
    EXPECT_EQ(record->header.name, "bf16");
    Task comparing = task(4);
    comparing.problems.clear();
    comparing.recorded = *std::move(record);
    const auto result = run({entrant("bf16"), entrant("q4_0", tensor::DataType::q4_0)}, comparing);
    ASSERT_TRUE(result) << result.error().what;
    ASSERT_EQ(result->scores.size(), 3U);
    const Agreement& same = *result->scores[0].agreement;
    EXPECT_EQ(same.same_top, same.positions);
    EXPECT_LT(same.divergence_sum / static_cast<double>(same.positions), 1e-6);
    EXPECT_GT(result->scores[1].agreement->divergence_sum, same.divergence_sum);
    EXPECT_NEAR(result->scores[2].likelihood.perplexity(),
                original->scores[0].likelihood.perplexity(), 1e-6);

    comparing.passages.pop_back();
    const auto other_text = run({entrant("bf16")}, comparing);
    ASSERT_FALSE(other_text);
    EXPECT_THAT(other_text.error().what, HasSubstr("another text"));
}

TEST_F(Evaluate, DamagedRecordsAreRefusedByLine) {
    const std::string header =
        R"({"holdfast_eval":1,"name":"a","fingerprint":"f","text":"t","top":2,"positions":1})"
        "\n";
    const auto error_of = [&](const std::string& content) {
        const auto record = read_record(file("bad.jsonl", content), 10);
        return record ? std::string() : record.error().what;
    };
    EXPECT_EQ(error_of(header + R"({"token":1,"logprob":-0.5,"top":[[1,-0.5]]})"
                                "\n"),
              "");
    EXPECT_THAT(error_of(""), HasSubstr("0 of 0"));
    EXPECT_THAT(error_of(header), HasSubstr("0 of 1"));
    EXPECT_THAT(error_of("{}\n"), HasSubstr(":1: not the header"));
    for (const char* const line :
         {"[]", "{", R"({"token":10,"logprob":-0.5,"top":[[1,-0.5]]})",
          R"({"token":1,"logprob":3,"top":[[1,-0.5]]})", R"({"token":1,"logprob":-1,"top":[]})",
          R"({"token":1,"logprob":-1,"top":[[11,-0.5]]})",
          R"({"token":1,"logprob":-1,"top":[[1,-0.5],[2,-1],[3,-2]]})",
          R"({"token":-1,"logprob":-1,"top":[[1,-0.5]]})"})
        EXPECT_THAT(error_of(header + line + "\n"), HasSubstr(":2: ")) << line;
    EXPECT_THAT(read_record(folder_.path() + "/none", 10).error().what, HasSubstr("cannot read"));
}

TEST_F(Evaluate, AnUnfinishedRecordLeavesNothing) {
    Task recording = task(4);
    recording.record_path = folder_.path() + "/record.jsonl";
    int left = 3;
    const auto result = evaluate({entrant("bf16")}, *tokenizer_, *chat_, recording,
                                 [&](const Moment& /*moment*/) { return --left > 0; });
    ASSERT_TRUE(result);
    EXPECT_TRUE(result->stopped);
    EXPECT_FALSE(std::filesystem::exists(recording.record_path));
    EXPECT_FALSE(std::filesystem::exists(recording.record_path + ".part"));

    recording.record_path = folder_.path() + "/none/record.jsonl";
    EXPECT_THAT(run({entrant("bf16")}, recording).error().what, HasSubstr("cannot write"));
}

TEST_F(Evaluate, TextIsCutSoThatEveryTokenCountsOnce) {
    std::string text;
    for (int i = 0; i < 40; ++i) text += "From the right: 3478: 8,7,4,3\n";
    const auto ids = tokenizer_->encode(text);
    const auto passages = cut_text(*tokenizer_, text, {.window = 100, .stride = 30});
    ASSERT_GT(passages.size(), 3U);
    EXPECT_EQ(positions_of(passages), ids.size());
    std::vector<chat::TokenId> predicted;
    for (const Passage& passage : passages) {
        EXPECT_EQ(passage.tokens[0], 995);  // BOS
        EXPECT_LE(passage.tokens.size(), 101U);
        predicted.insert(predicted.end(),
                         passage.tokens.begin() + static_cast<std::ptrdiff_t>(passage.scored_from),
                         passage.tokens.end());
    }
    EXPECT_EQ(predicted, ids);
    EXPECT_EQ(cut_text(*tokenizer_, "", {}).size(), 0U);
}

TEST_F(Evaluate, ProblemsSayWhatIsWrongWithThem) {
    const auto error_of = [&](const std::string& content) {
        const auto problems = read_problems(file("problems.jsonl", content));
        return problems ? std::string() : problems.error().what;
    };
    EXPECT_EQ(error_of(R"({"messages":[{"role":"user","content":"1+1"}],"value":"2"})"
                       "\n\n"),
              "");
    EXPECT_THAT(error_of(""), HasSubstr("no problem"));
    EXPECT_THAT(error_of("{\n"), HasSubstr(":1: not JSON"));
    EXPECT_THAT(error_of(R"({"value":"2"})"), HasSubstr("\"messages\""));
    EXPECT_THAT(error_of(R"({"messages":[],"value":"2"})"), HasSubstr("last message"));
    EXPECT_THAT(error_of(R"({"messages":[{"role":"king","content":"1"}],"value":"2"})"),
                HasSubstr("\"role\""));
    EXPECT_THAT(error_of(R"({"messages":[{"role":"user","content":"1"}]})"),
                HasSubstr("\"value\""));
}

TEST(IsRight, WantsOneThoughtAndTheValue) {
    const Problem sum{.value = "42"};
    EXPECT_TRUE(is_right(sum, "I add.\n</think>\n\n40 + 2 = **42**."));
    EXPECT_TRUE(is_right(sum, "I add.</think>So $\\boxed{42}$, not **41**."));
    EXPECT_FALSE(is_right(sum, "I add.</think>40 + 2 = **43**."));
    EXPECT_FALSE(is_right(sum, "I add.</think>**42** or **43**."));
    EXPECT_FALSE(is_right(sum, "I add.</think>42"));
    EXPECT_FALSE(is_right(sum, "40 + 2 = **42**."));
    EXPECT_FALSE(is_right(sum, "</think>**42**"));
    EXPECT_FALSE(is_right(sum, "a</think>b</think>**42**"));
    const Problem talk{.answers = {"Hello!", "Hi."}};
    EXPECT_TRUE(is_right(talk, "A greeting.</think>\n\nHi."));
    EXPECT_FALSE(is_right(talk, "A greeting.</think>\n\nHi. Hello!"));
}

}  // namespace
}  // namespace holdfast::eval
