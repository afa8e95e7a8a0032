// The client commands against a scripted service over real sockets.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>

#include "common/http/test_world.h"
#include "tools/cli/answer.h"
#include "tools/cli/chat.h"
#include "tools/cli/service.h"
#include "tools/cli/status.h"
#include "tools/cli/terminal.h"
#include "tools/cli/test_capture.h"

namespace holdfast::cli {
namespace {

using http::Request;
using http::Responder;
using http::Response;
using loop::Task;
using testing::Capture;
using testing::capture;
using ::testing::HasSubstr;
using testing::Said;

std::string event(std::string_view data) { return fmt::format("data: {}\n\n", data); }
std::string delta(std::string_view name, std::string_view text) {
    return event(fmt::format(R"({{"choices":[{{"index":0,"delta":{{"{}":"{}"}}}}]}})", name, text));
}

// What the scripted service streams, and what it was asked.
struct Script {
    std::vector<std::string> pieces;
    bool proper_end = true;
    int status = 200;
    std::string error_body;
    std::vector<std::string> bodies;  // of the requests; read it after the service has stopped
    std::string key;
};

Task<void> send_text(Responder& responder, int status, std::string body) {
    Response response;
    response.status = status;
    response.headers.add("x-request-id", "req-7");
    response.body = std::move(body);
    co_await responder.send(std::move(response));
}

Task<void> play(Script& script, Request request, Responder& responder) {
    script.bodies.push_back(request.body);
    script.key = std::string(request.headers.find("authorization").value_or(""));
    if (script.status != 200) {
        co_await send_text(responder, script.status, script.error_body);
        co_return;
    }
    http::Headers headers;
    headers.add("content-type", "text/event-stream");
    headers.add("x-request-id", "req-7");
    responder.start(200, std::move(headers));
    for (const std::string& piece : script.pieces) {
        auto written = co_await responder.write(piece);
        if (!written) co_return;
    }
    if (script.proper_end) co_await responder.finish();
}

constexpr const char* models = R"({"object":"list","data":[{"id":"tiny-r1"},{"id":"other"}]})";
constexpr const char* status_document =
    R"({"version":"0.1.0","uptime_seconds":3725.5,"pid":1,"instances":[)"
    R"({"id":"a","pid":4711,"url":"http://127.0.0.1:1","model":"tiny-r1","kind":"holdfast",)"
    R"("state":"ready","reason":"","restarts":2,"outstanding":3},)"
    R"({"id":"x1","pid":0,"url":"http://h:2","model":"m","kind":"vllm","state":"down",)"
    R"("reason":"no\nanswer\u001b[31m","restarts":0,"outstanding":0}]})";

class Scripted {
public:
    explicit Scripted(Script& script)
        : server_([&script](Request request, Responder& responder) {
              return serve(script, std::move(request), responder);
          }) {}
    std::string url() const { return fmt::format("http://127.0.0.1:{}", server_.port()); }

private:
    static Task<void> serve(Script& script, Request request, Responder& responder) {
        if (request.path == "/v1/models") return send_text(responder, 200, models);
        if (request.path == "/admin/v1/status") return send_text(responder, 200, status_document);
        return play(script, std::move(request), responder);
    }
    http::testing::TestServer server_;
};

const base::SystemClock system_clock;

Said ask(Script& script, ChatOptions options, std::string_view input = {}) {
    const Scripted service(script);
    options.url = service.url();
    return capture([&](Streams streams) { return run_chat(options, streams, system_clock); },
                   input);
}

std::vector<std::string> an_answer() {
    return {delta("reasoning_content", "Six times\\n") + delta("reasoning_content", "seven."),
            delta("content", "\\n\\nIt is "),
            delta("content", "42"),
            event(R"({"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})"),
            event(R"({"choices":[],"usage":{"completion_tokens":9}})"),
            event("[DONE]")};
}

TEST(Chat, AnswersOneQuestionWithThinkingInTagsWhenNobodyWatches) {
    Script script{.pieces = an_answer()};
    const auto said = ask(script, {.prompt = "6*7 \"?\"\n",
                                   .system = "Be\tshort.",
                                   .temperature = 0.5,
                                   .seed = 7,
                                   .max_tokens = 100});
    EXPECT_EQ(said.code, 0) << said.error;
    EXPECT_EQ(said.output, "<think>\nSix times\nseven.\n</think>\n\nIt is 42\n");
    EXPECT_THAT(said.error, HasSubstr("[9 tokens"));
    ASSERT_EQ(script.bodies.size(), 1U);
    EXPECT_EQ(
        script.bodies[0],
        R"({"model":"tiny-r1","messages":[{"role":"system","content":"Be\tshort."},)"
        R"({"role":"user","content":"6*7 \"?\"\n"}],"stream":true,)"
        R"("stream_options":{"include_usage":true},"temperature":0.5,"seed":7,"max_tokens":100})");
}

TEST(Chat, HidesTheThinkingOnRequest) {
    Script script{.pieces = an_answer()};
    EXPECT_EQ(ask(script, {.prompt = "?", .hide_thinking = true}).output, "It is 42\n");
}

TEST(Chat, TakesTheQuestionFromAPipeAndSendsTheKey) {
    Script script{.pieces = an_answer()};
    const auto said = ask(script, {.api_key = "secret", .model = "other"}, "what \xff is\n");
    EXPECT_EQ(said.code, 0);
    EXPECT_THAT(script.bodies[0], HasSubstr("\"model\":\"other\""));
    EXPECT_THAT(script.bodies[0], HasSubstr("what \xef\xbf\xbd is\\n"));
    EXPECT_EQ(script.key, "Bearer secret");
    EXPECT_EQ(ask(script, {}, " \n").code, 1);
}

TEST(Chat, TellsCauseNextStepAndRequestIdOfARefusal) {
    Script script{.status = 503, .error_body = R"({"error":{"message":"no instance is ready"}})"};
    const auto said = ask(script, {.prompt = "?"});
    EXPECT_EQ(said.code, 1);
    EXPECT_EQ(said.error,
              "holdfast: the service answers 503: no instance is ready\n"
              "  next: wait until an instance is ready; `holdfast status` shows their state\n"
              "  request id: req-7\n");
}

TEST(Chat, NeverTakesABrokenAnswerForAWholeOne) {
    Script cut{.pieces = {delta("content", "It is")}, .proper_end = false};
    auto said = ask(cut, {.prompt = "?"});
    EXPECT_EQ(said.code, 1);
    EXPECT_EQ(said.output, "It is\n");
    EXPECT_THAT(said.error, HasSubstr("the answer broke off"));
    EXPECT_THAT(said.error, HasSubstr("request id: req-7"));

    Script without_done{.pieces = {delta("content", "It is")}};
    EXPECT_EQ(ask(without_done, {.prompt = "?"}).code, 1);

    Script failing{.pieces = {delta("content", "It"), event(R"({"error":{"message":"lost it"}})"),
                              event("[DONE]")}};
    said = ask(failing, {.prompt = "?"});
    EXPECT_EQ(said.code, 1);
    EXPECT_THAT(said.error, HasSubstr("lost it"));

    for (const char* garbage : {"{", "[]", "17", "\"x\"", "\xff"}) {
        Script script{.pieces = {event(garbage), event("[DONE]")}};
        EXPECT_EQ(ask(script, {.prompt = "?"}).code, 1) << garbage;
    }
}

// A terminal without echo: what the test writes to `master` is typed.
class Terminal {
public:
    Terminal() : master_(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
        ::grantpt(master_.get());
        ::unlockpt(master_.get());
        slave_.reset(::open(::ptsname(master_.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    }
    int fd() const { return slave_.get(); }
    void type(std::string_view text) const { write_text(master_.get(), text); }

private:
    base::UniqueFd master_, slave_;
};

TEST(Chat, HoldsAConversationAtATerminal) {
    Script script{.pieces = an_answer()};
    const Terminal terminal;
    const Capture output, error;
    {
        const Scripted service(script);
        terminal.type(
            "/system Be short.\nfirst\n\"\"\"two\nlines\"\"\"\n/nonsense\n/clear\nlast\n/bye\n");
        const ChatOptions options{.url = service.url(), .hide_thinking = true};
        EXPECT_EQ(run_chat(options, {terminal.fd(), output.fd(), error.fd()}, system_clock), 0);
    }
    EXPECT_EQ(output.text(), "It is 42\nIt is 42\nIt is 42\n");
    EXPECT_THAT(error.text(), HasSubstr("There is no command /nonsense"));
    ASSERT_EQ(script.bodies.size(), 3U);
    EXPECT_THAT(script.bodies[1], HasSubstr(R"({"role":"user","content":"first"},)"
                                            R"({"role":"assistant","content":"It is 42"},)"
                                            R"({"role":"user","content":"two\nlines"})"));
    EXPECT_THAT(script.bodies[2], HasSubstr(R"([{"role":"system","content":"Be short."},)"
                                            R"({"role":"user","content":"last"}])"));
}

TEST(Chat, LeavesAtTheEndOfInput) {
    Script script;
    const Terminal terminal;
    const Scripted service(script);
    const Capture output;
    terminal.type("\x04");
    const ChatOptions options{.url = service.url()};
    EXPECT_EQ(run_chat(options, {terminal.fd(), output.fd(), output.fd()}, system_clock), 0);
}

TEST(Answer, IsDimmedAndCleanedForATerminal) {
    const Capture output;
    base::FakeClock clock;
    Answer answer({.terminal = true}, output.fd(), clock);
    const auto chunk = [](std::string_view name, std::string_view text) {
        return fmt::format(R"({{"choices":[{{"delta":{{"{}":"{}"}}}}]}})", name, text);
    };
    EXPECT_TRUE(answer.add(chunk("reasoning", "hm\\u001b[2J")).has_value());
    clock.advance(std::chrono::seconds(1));
    EXPECT_TRUE(answer.add(chunk("content", "yes\\u009b")).has_value());
    clock.advance(std::chrono::seconds(1));
    EXPECT_TRUE(answer.add(chunk("content", "!")).has_value());
    answer.end();
    EXPECT_EQ(output.text(), "\x1b[2mhm[2J\x1b[0m\n\nyes!\n");
    EXPECT_EQ(answer.statistics(),
              "[about 3 tokens, 1.0 tokens/s, first after 0.00 s, 2.00 s in all]");
}

TEST(Answer, TakesBackTheColoursWhenThinkingIsCutShort) {
    const Capture output;
    base::FakeClock clock;
    Answer answer({.terminal = true}, output.fd(), clock);
    EXPECT_TRUE(answer.add(R"({"choices":[{"delta":{"reasoning":"hm"}}]})").has_value());
    answer.end();
    EXPECT_EQ(output.text(), "\x1b[2mhm\x1b[0m\n\n");
}

TEST(Status, ShowsATable) {
    Script script;
    const Scripted service(script);
    const auto said = capture(
        [&](Streams streams) { return run_status({.url = service.url()}, streams, system_clock); });
    EXPECT_EQ(said.code, 0) << said.error;
    EXPECT_EQ(said.output,
              "holdfast 0.1.0, up 1 h 2 min, 1 of 2 instances ready\n\n"
              "ID  STATE  MODEL    KIND      PID   RESTARTS  RUNNING  URL                 REASON\n"
              "a   ready  tiny-r1  holdfast  4711  2         3        http://127.0.0.1:1  -\n"
              "x1  down   m        vllm      -     0         0        http://h:2          no "
              "answer[31m\n");
}

TEST(Status, GivesProgramsTheWholeDocument) {
    Script script;
    const Scripted service(script);
    const auto said = capture([&](Streams streams) {
        return run_status({.url = service.url(), .json = true}, streams, system_clock);
    });
    EXPECT_EQ(said.output, std::string(status_document) + "\n");
}

TEST(Status, SaysWhatToDoWhenNothingAnswers) {
    std::string url;
    {
        Script script;
        url = Scripted(script).url();
    }
    const auto said =
        capture([&](Streams streams) { return run_status({.url = url}, streams, system_clock); });
    EXPECT_EQ(said.code, 1);
    EXPECT_THAT(said.error, HasSubstr("next: start a service with `holdfast serve`"));
    EXPECT_EQ(capture([&](Streams streams) {
                  return run_status({.url = "ftp://x"}, streams, system_clock);
              }).code,
              1);
}

TEST(StatusTable, RefusesWhatIsNoStatus) {
    for (const char* text : {"", "{", "[]", "{}", R"({"instances":3})", "<html>"})
        EXPECT_FALSE(status_table(text).has_value()) << text;
    EXPECT_THAT(*status_table(R"({"instances":[{}, 3]})"), HasSubstr("0 of 2 instances ready"));
}

TEST(Printable, LetsNothingSteerTheTerminal) {
    EXPECT_EQ(printable("a\x1b[0m\r\n\tb\x7f\xc2\x9b"
                        "c"),
              "a[0m\n\tbc");
    EXPECT_EQ(printable("\xe2\x82\xac \xf0\x9f\x98\x80"), "\xe2\x82\xac \xf0\x9f\x98\x80");
    for (const char* bad : {"\xff", "\xc0", "\xed", "\xe2"})
        EXPECT_EQ(printable(bad), "\xef\xbf\xbd");
}

TEST(Interrupt, StopsTheAnswerAndNotTheProgram) {
    // The child has one thread, as the program has; the service lives in the parent.
    std::array<int, 2> pipe{};
    ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
    http::testing::TestServer server([](Request, Responder& responder) -> Task<void> {
        http::Headers headers;
        responder.start(200, std::move(headers));
        const std::string piece = delta("content", "It is");
        while (true) {  // until the client has gone
            auto written = co_await responder.write(piece);
            if (!written) co_return;
        }
    });
    const pid_t pid = ::fork();
    if (pid == 0) {
        const ChatOptions options{
            .url = fmt::format("http://127.0.0.1:{}", server.port()), .model = "m", .prompt = "?"};
        ::_exit(run_chat(options, {0, pipe[1], pipe[1]}, system_clock));
    }
    ::close(pipe[1]);
    std::array<char, 4096> bytes;
    ASSERT_GT(::read(pipe[0], bytes.data(), bytes.size()), 0);  // the answer has begun
    ASSERT_EQ(::kill(pid, SIGINT), 0);
    while (::read(pipe[0], bytes.data(), bytes.size()) > 0) {
    }
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 130);
    server.await_connections(0);
    ::close(pipe[0]);
}

}  // namespace
}  // namespace holdfast::cli
