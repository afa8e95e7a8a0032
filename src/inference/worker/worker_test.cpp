#include "inference/worker/worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "inference/worker/test_world.h"

namespace holdfast::worker {
namespace {

using http::testing::RawSocket;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr std::string_view chat_path = "/v1/chat/completions";
constexpr std::string_view hello = R"({"model":"r1","messages":[{"role":"user","content":"Hi"}]})";
constexpr std::string_view hello_stream =
    R"({"model":"r1","messages":[{"role":"user","content":"Hi"}],"stream":true,)"
    R"("stream_options":{"include_usage":true}})";

class WorkerTest : public ::testing::Test {
protected:
    WorkerTest() { world_.adopt(engine_); }
    RawSocket open(std::string_view body, std::string_view headers = "") {
        auto socket = world_.connect();
        socket.send(World::post(chat_path, body, headers));
        return socket;
    }

    std::shared_ptr<FakeEngine> engine_ = std::make_shared<FakeEngine>();
    World world_;
};

TEST_F(WorkerTest, StreamsEventsAsTheyComeAndEndsWithUsageAndDone) {
    auto socket = open(hello_stream);
    const auto script = engine_->await_request();
    EXPECT_EQ(std::get<0>(script->request.prompt)[0].content, "Hi");
    script->say("One");
    const std::string first = socket.read_until("\"content\":\"One\"");
    EXPECT_THAT(first, StartsWith("HTTP/1.1 200"));
    EXPECT_THAT(first, HasSubstr("text/event-stream"));
    EXPECT_THAT(first, HasSubstr("x-holdfast-fingerprint: "));
    EXPECT_THAT(first, HasSubstr("\"role\":\"assistant\""));
    script->say(" two");
    socket.read_until("\"content\":\" two\"");
    script->end(chat::FinishReason::length);
    const std::string rest = socket.read_until("0\r\n\r\n");
    EXPECT_THAT(rest, HasSubstr("\"finish_reason\":\"length\""));
    EXPECT_THAT(rest, HasSubstr("\"completion_tokens\":4"));
    EXPECT_THAT(rest, HasSubstr("data: [DONE]\n\n\r\n0\r\n\r\n"));
    script->await_cancel();  // the stream is given back
}

TEST_F(WorkerTest, GivesOneIdToTheWholeStream) {
    auto socket = open(hello_stream);
    const auto script = engine_->await_request();
    script->say("a");
    script->end();
    const std::string all = socket.read_until("[DONE]");
    const std::string id = all.substr(all.find("\"id\":\"chatcmpl-"), 20);
    std::size_t chunks = 0, with_id = 0;
    for (std::size_t at = 0; (at = all.find("data: {", at)) != std::string::npos; ++at) ++chunks;
    for (std::size_t at = 0; (at = all.find(id, at)) != std::string::npos; ++at) ++with_id;
    EXPECT_EQ(chunks, 4U);
    EXPECT_EQ(with_id, chunks);
}

TEST_F(WorkerTest, AnswersAsAWholeWhenNoStreamIsAskedFor) {
    auto socket = open(hello, "x-request-id: abc-1\r\n");
    const auto script = engine_->await_request();
    script->say("One");
    script->say(" two");
    script->end();
    const std::string answer = socket.read_answer();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
    EXPECT_THAT(answer, HasSubstr("x-request-id: abc-1\r\n"));
    EXPECT_THAT(answer, HasSubstr("\"content\":\"One two\""));
    EXPECT_THAT(answer, HasSubstr("\"total_tokens\":7"));
    EXPECT_THAT(answer, HasSubstr("\"object\":\"chat.completion\""));
}

TEST_F(WorkerTest, AnswersTextCompletions) {
    auto socket = world_.connect();
    socket.send(World::post("/v1/completions", R"({"model":"r1","prompt":"Once"})"));
    const auto script = engine_->await_request();
    EXPECT_EQ(std::get<1>(script->request.prompt), "Once");
    script->say(" upon");
    script->end();
    EXPECT_THAT(socket.read_answer(), HasSubstr("\"text\":\" upon\""));
}

TEST_F(WorkerTest, CarriesIdsAndTakesThemBack) {
    auto socket = open(R"({"model":"r1","messages":[{"role":"user","content":"Hi"}],"stream":true,)"
                       R"("holdfast":{"ids":true,"resume":[[7,8]]}})");
    const auto script = engine_->await_request();
    EXPECT_EQ(script->request.resume->ids, (std::vector<std::vector<chat::TokenId>>{{7, 8}}));
    script->say(chat::Event{.ids = {9, 10}});
    socket.read_until("\"holdfast\":{\"ids\":[9,10]}");
    script->say(chat::Event{.ids = {11}, .content = "!", .finish = chat::FinishReason::stop});
    EXPECT_THAT(socket.read_until("\"holdfast\":{\"ids\":[11]}"),
                HasSubstr(R"("delta":{"content":"!"},"finish_reason":"stop")"));
    script->say(chat::Event{.usage = chat::Usage{}});
    socket.read_until("[DONE]");
}

TEST_F(WorkerTest, TellsItsOwnClientsAndNoGatewayWhatCameFromThePrefixCache) {
    const auto cached = [&](std::string_view extension) {
        auto socket = open(fmt::format(
            R"({{"model":"r1","messages":[{{"role":"user","content":"Hi"}}]{}}})", extension));
        const auto script = engine_->await_request();
        script->say(chat::Event{.ids = {2},
                                .finish = chat::FinishReason::stop,
                                .usage = chat::Usage{.prompt_tokens = 9, .cached_tokens = 8}});
        return socket.read_answer();
    };
    EXPECT_THAT(cached(""), HasSubstr("\"cached_tokens\":8"));
    EXPECT_THAT(cached(R"(,"holdfast":{"ids":true})"), HasSubstr("\"cached_tokens\":0"));
}

TEST_F(WorkerTest, CancelsTheGenerationWhenTheClientLeaves) {
    auto socket = open(hello_stream);
    const auto script = engine_->await_request();
    script->say("a");
    socket.read_until("\"a\"");
    socket.close();
    script->await_cancel();
    world_.await_exchanges(0);
}

TEST_F(WorkerTest, CancelsTheGenerationWhenTheClientOfAWholeAnswerLeaves) {
    auto socket = open(hello);
    const auto script = engine_->await_request();
    socket.reset();
    script->await_cancel();
}

TEST_F(WorkerTest, EndsABrokenStreamWithAnErrorAndWithoutDone) {
    auto socket = open(hello_stream);
    const auto script = engine_->await_request();
    script->say("a");
    socket.read_until("\"a\"");
    script->fail({base::Code::deadline, "The deadline has passed."});
    const std::string rest = socket.read_until("0\r\n\r\n");
    EXPECT_THAT(rest, HasSubstr("data: {\"error\":{\"message\":\"The deadline has passed.\""));
    EXPECT_THAT(rest, HasSubstr("\"code\":\"deadline_exceeded\""));
    EXPECT_THAT(rest, Not(HasSubstr("[DONE]")));
}

TEST_F(WorkerTest, AnswersAnEarlyErrorOfAStreamPlainly) {
    auto socket = open(hello_stream);
    engine_->await_request()->fail(
        {base::Code::unavailable, "Stopping.", base::Origin::instance, base::Retry::elsewhere});
    const std::string answer = socket.read_answer();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 503"));
    EXPECT_THAT(answer, HasSubstr("Retry-After: 1\r\n"));
}

TEST_F(WorkerTest, RefusesWhatTheEngineRefuses) {
    engine_->refusal = base::Error{base::Code::invalid, "Too long.", base::Origin::client,
                                   base::Retry::no,     "messages",  "context_length_exceeded"};
    const std::string answer = world_.ask(chat_path, hello);
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 400"));
    EXPECT_THAT(answer, HasSubstr(R"("param":"messages","code":"context_length_exceeded")"));
    EXPECT_THAT(answer, HasSubstr("x-request-id: req-"));
}

TEST_F(WorkerTest, RefusesOtherModels) {
    const std::string answer =
        world_.ask(chat_path, R"({"model":"../r1","messages":[{"role":"user","content":"Hi"}]})");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 404"));
    EXPECT_THAT(answer, HasSubstr("\"code\":\"model_not_found\""));
}

TEST_F(WorkerTest, RefusesWrongPathsMethodsAndBodies) {
    EXPECT_THAT(world_.get("/v2/chat"), StartsWith("HTTP/1.1 404"));
    const std::string wrong_method = world_.get(chat_path);
    EXPECT_THAT(wrong_method, StartsWith("HTTP/1.1 405"));
    EXPECT_THAT(wrong_method, HasSubstr("Allow: POST\r\n"));
    EXPECT_THAT(world_.ask("/livez", "{}"), HasSubstr("Allow: GET, HEAD\r\n"));
    // Part of a method that the path takes is another method.
    for (const std::string_view method : {"GE", "EAD", ",", "P"}) {
        auto socket = world_.connect();
        socket.send(fmt::format("{} /livez HTTP/1.1\r\nHost: x\r\n\r\n", method));
        EXPECT_THAT(socket.read_answer(), Not(StartsWith("HTTP/1.1 200"))) << method;
    }
    EXPECT_THAT(world_.ask(chat_path, "{"), StartsWith("HTTP/1.1 400"));
    EXPECT_THAT(world_.ask(chat_path, hello, "Content-Encoding: gzip\r\n"),
                StartsWith("HTTP/1.1 415"));
    auto socket = world_.connect();
    socket.send(
        "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
        "Content-Length: 2\r\n\r\n{}");
    EXPECT_THAT(socket.read_answer(), HasSubstr("\"code\":\"unsupported_media_type\""));
    auto untyped = world_.connect();
    untyped.send("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}");
    EXPECT_THAT(untyped.read_answer(), HasSubstr("\"param\":\"model\""));
}

TEST_F(WorkerTest, RefusesWorkForOtherNumerics) {
    const std::string answer = world_.ask(chat_path, hello, "x-holdfast-fingerprint: other\r\n");
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 409"));
    EXPECT_THAT(answer, HasSubstr("\"code\":\"fingerprint_mismatch\""));
    auto socket = open(hello, "x-holdfast-fingerprint: " + engine_->model().fingerprint() + "\r\n");
    engine_->await_request()->end();
    EXPECT_THAT(socket.read_answer(), StartsWith("HTTP/1.1 200"));
}

TEST_F(WorkerTest, TakesOverTheTimeThatIsLeft) {
    EXPECT_THAT(world_.ask(chat_path, hello, "x-holdfast-deadline-ms: 0\r\n"),
                StartsWith("HTTP/1.1 504"));
    EXPECT_THAT(world_.ask(chat_path, hello, "x-holdfast-deadline-ms: soon\r\n"),
                HasSubstr("\"param\":\"x-holdfast-deadline-ms\""));
    auto socket = open(hello, "x-holdfast-deadline-ms: 60000\r\n");
    const auto script = engine_->await_request();
    EXPECT_FALSE(script->deadline.is_never());
    const auto left = script->deadline.left(base::SystemClock().now());
    EXPECT_LE(left, std::chrono::seconds(60));
    script->end();
    socket.read_answer();
    auto patient = open(hello);
    const auto endless = engine_->await_request();
    EXPECT_TRUE(endless->deadline.is_never());
    endless->end();
    patient.read_answer();
}

TEST(Worker, SaysThatItLoadsUntilItHasAModel) {
    World world;
    world.worker().set_load_progress(0.25);
    EXPECT_THAT(world.get("/livez"), StartsWith("HTTP/1.1 200"));
    const std::string ready = world.get("/readyz");
    EXPECT_THAT(ready, StartsWith("HTTP/1.1 503"));
    EXPECT_THAT(ready, HasSubstr(R"({"ready":false,"reasons":["loading"],"model":"r1")"));
    EXPECT_THAT(ready, HasSubstr("\"load_progress\":0.25"));
    EXPECT_THAT(world.get("/health"), HasSubstr("\"status\":\"loading\""));
    EXPECT_THAT(world.get("/v1/models"), StartsWith("HTTP/1.1 503"));
    const std::string early = world.ask(chat_path, hello);
    EXPECT_THAT(early, StartsWith("HTTP/1.1 503"));
    EXPECT_THAT(early, HasSubstr("Retry-After: 1\r\n"));
    EXPECT_THAT(early, HasSubstr("loading (25 %)"));
    world.adopt(std::make_shared<FakeEngine>());
    EXPECT_THAT(world.get("/readyz"), HasSubstr(R"({"ready":true,"reasons":[],"model":"r1")"));
    EXPECT_THAT(world.get("/health"), HasSubstr("\"status\":\"ok\""));
}

TEST_F(WorkerTest, LetsRunningAnswersEndAndRefusesNewOnesWhileItDrains) {
    auto socket = open(hello_stream);
    const auto script = engine_->await_request();
    script->say("a");
    socket.read_until("\"a\"");
    world_.drain();
    const std::string ready = world_.get("/readyz");
    EXPECT_THAT(ready, StartsWith("HTTP/1.1 503"));
    EXPECT_THAT(ready, HasSubstr("\"reasons\":[\"draining\"]"));
    EXPECT_THAT(ready, HasSubstr("\"draining\":true"));
    EXPECT_THAT(world_.ask(chat_path, hello), StartsWith("HTTP/1.1 503"));
    EXPECT_THAT(world_.get("/livez"), StartsWith("HTTP/1.1 200"));
    script->end();
    socket.read_until("[DONE]");
}

TEST_F(WorkerTest, ShowsItsModelAndItsState) {
    engine_->set_stats({.steps = 5, .progress = 77, .running = 2, .waiting = 1});
    const std::string ready = world_.get("/readyz");
    EXPECT_THAT(ready, HasSubstr("\"context\":4096"));
    EXPECT_THAT(ready, HasSubstr(R"("running":2,"waiting":1,"progress":77,"draining":false)"));
    EXPECT_THAT(ready, HasSubstr(fmt::format("\"pid\":{},", ::getpid())));
    const std::string models = world_.get("/v1/models");
    EXPECT_THAT(models, HasSubstr(R"({"object":"list","data":[{"id":"r1","object":"model")"));
    EXPECT_THAT(models, HasSubstr(fmt::format(R"("context_length":4096,"max_model_len":4096,)"
                                              R"("holdfast":{{"fingerprint":"{}"}})",
                                              engine_->model().fingerprint())));
    EXPECT_THAT(world_.get("/v1/models/r1"), HasSubstr("{\"id\":\"r1\""));
    EXPECT_THAT(world_.get("/v1/models/r2"), StartsWith("HTTP/1.1 404"));
}

TEST_F(WorkerTest, TellsAMovingEngineFromAHangingOne) {
    EXPECT_TRUE(world_.moves());
    EXPECT_TRUE(world_.moves());  // nothing to do
    engine_->set_stats({.progress = 7, .running = 1});
    EXPECT_TRUE(world_.moves());  // the work has only just come
    engine_->set_stats({.progress = 8, .running = 1});
    EXPECT_TRUE(world_.moves());
    EXPECT_FALSE(world_.moves());
    engine_->set_stats({.progress = 9, .waiting = 1});
    EXPECT_TRUE(world_.moves());
}

TEST_F(WorkerTest, CountsWhatItDoes) {
    auto socket = open(hello);
    const auto script = engine_->await_request();
    script->say("a");
    script->say("b");
    script->end();
    socket.read_answer();
    world_.await_exchanges(0);
    world_.get("/nowhere/at/all");
    engine_->set_stats({.steps = 5,
                        .running = 2,
                        .blocks_used = 1,
                        .blocks_total = 4,
                        .prompt_tokens = 100,
                        .generated_tokens = 50});
    const std::string metrics = world_.get("/metrics");
    constexpr const char* requests =
        R"(holdfast_requests_total{code="200",endpoint="/v1/chat/completions",)"
        R"(finish_reason="stop",model="r1"} 1)";
    for (const char* line :
         {requests, "holdfast_time_to_first_token_seconds_count{model=\"r1\"} 1\n",
          "holdfast_inter_token_latency_seconds_count{model=\"r1\"} 2\n",
          "holdfast_request_duration_seconds_count{model=\"r1\"} 1\n",
          "holdfast_reasoning_tokens_total{model=\"r1\"} 1\n",
          "holdfast_requests_running{model=\"r1\"} 2\n",
          "holdfast_kv_cache_usage_ratio{model=\"r1\"} 0.25\n",
          "holdfast_prompt_tokens_total{model=\"r1\"} 100\n",
          "holdfast_generation_tokens_total{model=\"r1\"} 50\n", "endpoint=\"unknown\""}) {
        EXPECT_THAT(metrics, HasSubstr(line));
    }
    EXPECT_THAT(metrics, Not(HasSubstr("nowhere")));
}

TEST(Worker, PingsWhileAStreamSaysNothing) {
    World world(std::chrono::milliseconds(1));
    const auto engine = std::make_shared<FakeEngine>();
    world.adopt(engine);
    auto socket = world.connect();
    socket.send(World::post(chat_path, hello_stream));
    const auto script = engine->await_request();
    for (std::uint64_t progress = 1; progress < 4; ++progress) {
        engine->set_stats({.progress = progress, .running = 1});
        EXPECT_TRUE(socket.read_until(": ping\n\n").ends_with(": ping\n\n"));
    }
    script->end();
    EXPECT_THAT(socket.read_until("[DONE]"), Not(HasSubstr(": ping")));
}

TEST(Worker, SendsNoPingWhileItsEngineStandsStill) {
    World world(std::chrono::milliseconds(1));
    const auto engine = std::make_shared<FakeEngine>();
    world.adopt(engine);
    engine->set_stats({.progress = 7, .running = 1});
    auto socket = world.connect();
    socket.send(World::post(chat_path, hello_stream));
    const auto script = engine->await_request();
    for (int i = 0; i < 50; ++i) world.get("/livez");
    script->end();
    const std::string answer = socket.read_until("[DONE]");
    EXPECT_THAT(answer, HasSubstr("[DONE]"));
    EXPECT_THAT(answer, Not(HasSubstr(": ping")));
}

TEST(Worker, PingsAsOftenAsItIsAskedTo) {
    World world;
    const auto engine = std::make_shared<FakeEngine>();
    world.adopt(engine);
    auto socket = world.connect();
    socket.send(World::post(chat_path, hello_stream, "x-holdfast-ping-ms: 1\r\n"));
    const auto script = engine->await_request();
    engine->set_stats({.progress = 1, .running = 1});
    EXPECT_TRUE(socket.read_until(": ping\n\n").ends_with(": ping\n\n"));
    script->end();
    socket.read_until("[DONE]");
}

TEST_F(WorkerTest, PausesForAClientThatDoesNotRead) {
    auto socket = world_.connect();
    socket.send(World::post(chat_path, hello_stream));
    const auto script = engine_->await_request();
    const std::string piece(64 * 1024, 'x');
    constexpr int pieces = 400;
    for (int i = 0; i < pieces; ++i) script->say(piece);
    script->end();
    // Another client is served meanwhile.
    EXPECT_THAT(world_.get("/livez"), StartsWith("HTTP/1.1 200"));
    const std::string all = socket.read_until("[DONE]");
    EXPECT_EQ(std::ranges::count(all, 'x') / static_cast<long>(piece.size()), pieces);
}

TEST_F(WorkerTest, TokenizesAndDetokenizes) {
    EXPECT_THAT(world_.ask("/tokenize", R"({"prompt":"ab","return_token_strs":true})"),
                HasSubstr(R"({"count":3,"max_model_len":4096,"tokens":[256,97,98],)"
                          R"("token_strs":["<｜begin▁of▁sentence｜>","a","b"]})"));
    EXPECT_THAT(
        world_.ask("/tokenize", R"({"model":"r1","prompt":"a","add_special_tokens":false})"),
        HasSubstr(R"("tokens":[97],"token_strs":null})"));
    const auto conversation = [&](std::string_view options) {
        return world_.ask(
            "/tokenize",
            fmt::format(R"({{"messages":[{{"role":"user","content":"a"}}]{}}})", options));
    };
    EXPECT_THAT(conversation(""), HasSubstr("\"tokens\":[124,97,63],"));
    EXPECT_THAT(conversation(R"(,"add_special_tokens":true)"),
                HasSubstr("\"tokens\":[256,124,97,63],"));
    EXPECT_THAT(conversation(R"(,"add_generation_prompt":false)"),
                HasSubstr("\"tokens\":[124,97,46],"));
    EXPECT_THAT(conversation(R"(,"add_generation_prompt":false,"continue_final_message":true)"),
                HasSubstr("\"tokens\":[124,97],"));
    EXPECT_THAT(conversation(R"(,"continue_final_message":true)"),
                HasSubstr("\"param\":\"continue_final_message\""));
    EXPECT_THAT(conversation(R"(,"tools":[{}])"), HasSubstr("\"param\":\"tools\""));
    EXPECT_THAT(world_.ask("/detokenize", R"({"tokens":[97,98]})"),
                HasSubstr(R"({"prompt":"ab"})"));
    EXPECT_THAT(world_.ask("/detokenize", R"({"tokens":[299]})"), StartsWith("HTTP/1.1 400"));
    EXPECT_THAT(world_.ask("/tokenize", "{}"), HasSubstr("\"param\":\"prompt\""));
    EXPECT_THAT(world_.ask("/tokenize", R"({"model":"x","prompt":"a"})"),
                StartsWith("HTTP/1.1 404"));
}

}  // namespace
}  // namespace holdfast::worker
