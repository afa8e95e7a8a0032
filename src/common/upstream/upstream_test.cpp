#include "common/upstream/call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/dialect/dialect.h"
#include "common/dialect/golden_test.h"
#include "common/upstream/error.h"
#include "common/upstream/limits.h"
#include "common/upstream/reader.h"

namespace holdfast::upstream {
namespace {

using testing::HasSubstr;
using testing::Not;

chat::Request parse(std::string_view path, std::string_view body) {
    auto request = dialect::find("POST", path).route->parse(body);
    EXPECT_TRUE(request.has_value()) << request.error().what;
    return *std::move(request);
}

chat::Request chat_request(std::string_view more = "") {
    return parse(
        "/v1/chat/completions",
        fmt::format(R"({{"model":"r1","messages":[{{"role":"user","content":"Hi"}}]{}}})", more));
}

// Asks for as much as can be asked for.
chat::Generation anything() {
    chat::Generation asked;
    asked.choices = chat::choices_max;
    asked.logprobs = 5;
    return asked;
}

// A reader that is given the data of one event at a time.
class EventReader {
public:
    explicit EventReader(const Peer& peer = holdfast_kind, const Delivered& delivered = {},
                         const chat::Generation& asked = anything())
        : reader_(peer, asked, delivered) {}

    base::Result<Reader::Read> read(std::string_view data) {
        reader_.feed(fmt::format("data: {}\n\n", data));
        auto read = reader_.next();
        if (!read) return std::unexpected(read.error());
        EXPECT_TRUE(read->has_value());
        return **std::move(read);
    }

private:
    Reader reader_;
};

// The events of a reader that was fed a stream.
std::vector<chat::Event> read_stream(Reader& reader, std::string_view stream) {
    std::vector<chat::Event> events;
    reader.feed(stream);
    while (true) {
        auto read = reader.next();
        if (!read || !*read) {
            ADD_FAILURE() << (read ? "the end is missing" : read.error().what);
            return events;
        }
        if ((*read)->event) events.push_back(*std::move((*read)->event));
        if ((*read)->done) return events;
    }
}

std::string text(const chat::Event& event) {
    std::string out = fmt::format("{} [{}] '{}' '{}'", event.choice, fmt::join(event.ids, ","),
                                  event.reasoning, event.content);
    for (const auto& score : event.scores) {
        out += fmt::format(" {}:{}:{}", score.id, fmt::join(score.bytes, "."), score.logprob);
        for (const auto& top : score.top) {
            out += fmt::format("({}:{})", fmt::join(top.bytes, "."), top.logprob);
        }
    }
    if (event.finish) out += fmt::format(" finish {}", static_cast<int>(*event.finish));
    if (event.usage) {
        out += fmt::format(" usage {} {} {} {}", event.usage->prompt_tokens,
                           event.usage->completion_tokens, event.usage->reasoning_tokens,
                           event.usage->cached_tokens);
    }
    return out;
}

std::vector<chat::Event> sample_events(bool with_scores) {
    std::vector<chat::Event> events{
        {.choice = 0, .ids = {1}},
        {.choice = 1, .ids = {2, 3}, .reasoning = "h\"\\\n\t\x01é"},
        {.choice = 0, .ids = {151647}, .reasoning = "x", .content = "😀\u2028"},
        {.choice = 1, .ids = {4}, .content = "end", .finish = chat::FinishReason::length},
        {.choice = 0, .ids = {5}, .finish = chat::FinishReason::stop},
    };
    if (with_scores) {
        events[0].scores = {{1, "\xF0\x9F", -0.1F, {{0, "\xF0", -2.5F}, {0, "a", -1e-7F}}}};
        events[1].scores = {{2, "h", -0.0F, {}}, {3, "\"", -17.125F, {}}};
    }
    return events;
}

void expect_round_trip(std::string_view path, const chat::Request& request,
                       std::vector<chat::Event> events) {
    const chat::Usage usage{7, 6, 5, 4};
    std::string stream;
    const auto encoder =
        dialect::find("POST", path).dialect->make_encoder(request, {"id", 1, "r1"});
    for (std::size_t i = 0; i < events.size(); ++i) {
        chat::Event event = events[i];
        if (i + 1 == events.size()) event.usage = usage;
        encoder->event(event, stream);
    }
    encoder->end(stream);
    Reader reader(holdfast_kind, request.generation, {});
    auto read = read_stream(reader, stream);
    events.push_back({.usage = usage});  // travels in a chunk of its own
    ASSERT_EQ(read.size(), events.size()) << stream;
    for (std::size_t i = 0; i < read.size(); ++i) EXPECT_EQ(text(read[i]), text(events[i]));
}

constexpr std::string_view ids_and_usage =
    R"(,"n":2,"stream":true,"stream_options":{"include_usage":true},"holdfast":{"ids":true})";

TEST(Upstream, ReadsTheEventsThatAWorkersChatStreamWasWrittenFrom) {
    expect_round_trip("/v1/chat/completions", chat_request(ids_and_usage), sample_events(false));
}

TEST(Upstream, ReadsTheScoresThatAWorkersChatStreamWasWrittenFrom) {
    expect_round_trip("/v1/chat/completions",
                      chat_request(std::string(ids_and_usage) + R"(,"logprobs":true)"),
                      sample_events(true));
}

TEST(Upstream, ReadsTheEventsThatAWorkersTextStreamWasWrittenFrom) {
    auto events = sample_events(true);
    for (chat::Event& event : events) event.reasoning.clear();
    const auto request =
        parse("/v1/completions",
              fmt::format(R"({{"model":"r1","prompt":"x","logprobs":2{}}})", ids_and_usage));
    expect_round_trip("/v1/completions", request, events);
}

TEST(Upstream, GivesAWorkerTheSameRequest) {
    auto request = chat_request(
        R"(,"temperature":0.1,"top_p":0.95,"top_k":20,"min_p":0.05,"repetition_penalty":1.1,)"
        R"("presence_penalty":-1.3,"frequency_penalty":0.7,"seed":18446744073709551615,)"
        R"("logit_bias":{"7":-99.9},"max_tokens":7,"min_tokens":1,"stop":["a\n","é"],)"
        R"("stop_in_reasoning":true,"stop_token_ids":[3],"ignore_eos":true,"n":2,"user":"u",)"
        R"("logprobs":true,"top_logprobs":3,"holdfast":{"resume":[[1,2],[]]})");
    std::get<0>(request.generation.prompt).push_back({chat::Role::assistant, "an", "thought"});
    const auto call = encode(request, holdfast_kind, "other", {"ignored", "x"});
    EXPECT_EQ(call.path, "/v1/chat/completions");
    const auto read = parse(call.path, call.body);
    EXPECT_EQ(read.model, "other");
    EXPECT_EQ(std::get<0>(read.generation.prompt).size(), 2U);
    EXPECT_EQ(std::get<0>(read.generation.prompt)[1].reasoning, "thought");
    EXPECT_EQ(read.generation.sampling.temperature, request.generation.sampling.temperature);
    EXPECT_EQ(read.generation.sampling.top_p, request.generation.sampling.top_p);
    EXPECT_EQ(read.generation.sampling.top_k, request.generation.sampling.top_k);
    EXPECT_EQ(read.generation.sampling.min_p, request.generation.sampling.min_p);
    EXPECT_EQ(read.generation.sampling.repetition_penalty,
              request.generation.sampling.repetition_penalty);
    EXPECT_EQ(read.generation.sampling.presence_penalty,
              request.generation.sampling.presence_penalty);
    EXPECT_EQ(read.generation.sampling.frequency_penalty,
              request.generation.sampling.frequency_penalty);
    EXPECT_EQ(read.generation.sampling.seed, request.generation.sampling.seed);
    EXPECT_EQ(read.generation.sampling.logit_bias, request.generation.sampling.logit_bias);
    EXPECT_EQ(read.generation.stopping.max_tokens, 7U);
    EXPECT_EQ(read.generation.stopping.min_tokens, 1U);
    EXPECT_EQ(read.generation.stopping.stop, request.generation.stopping.stop);
    EXPECT_TRUE(read.generation.stopping.stop_in_reasoning);
    EXPECT_EQ(read.generation.stopping.stop_token_ids, request.generation.stopping.stop_token_ids);
    EXPECT_TRUE(read.generation.stopping.ignore_eos);
    EXPECT_EQ(read.generation.choices, 2U);
    EXPECT_EQ(read.generation.logprobs, 3U);
    EXPECT_EQ(read.generation.resume->ids, request.generation.resume->ids);
    EXPECT_EQ(read.user, "u");
    EXPECT_TRUE(read.presentation.stream && read.presentation.include_usage &&
                read.presentation.want_ids);
}

TEST(Upstream, GivesAWorkerTheSameTextPromptAndTokenIds) {
    auto request = parse("/v1/completions", R"({"model":"r1","prompt":"One\u0000ce"})");
    auto call = encode(request, holdfast_kind, "r1", {});
    EXPECT_EQ(parse(call.path, call.body).generation.prompt.index(), 1U);
    EXPECT_EQ(std::get<1>(parse(call.path, call.body).generation.prompt),
              std::string("One\0ce", 6));
    request = parse("/v1/completions", R"({"model":"r1","prompt":[5,6],"logprobs":1})");
    call = encode(request, holdfast_kind, "r1", {});
    EXPECT_EQ(std::get<2>(parse(call.path, call.body).generation.prompt),
              (std::vector<chat::TokenId>{5, 6}));
    EXPECT_EQ(parse(call.path, call.body).generation.logprobs, 1U);
}

TEST(Upstream, WritesFieldsInTheWordsOfTheKind) {
    const auto request = chat_request(R"(,"logit_bias":{"5":1},"seed":18446744073709551615)");
    const auto body = encode(request, llama_server_kind, "m", {}).body;
    EXPECT_THAT(body, HasSubstr(R"("logit_bias":[[5,1]])"));
    EXPECT_THAT(body, HasSubstr(R"("repeat_penalty":1,)"));
    EXPECT_THAT(body, HasSubstr(R"("seed":2147483647)"));
    EXPECT_THAT(encode(request, vllm_kind, "m", {}).body, Not(HasSubstr("holdfast")));
}

TEST(Upstream, ContinuesRawTextByMakingItThePrompt) {
    const auto request = parse("/v1/completions", R"({"model":"r1","prompt":"Once"})");
    const auto call = encode(request, openai_kind, "m", {"", " upon"});
    EXPECT_EQ(call.path, "/v1/completions");
    EXPECT_THAT(call.body, HasSubstr(R"("prompt":"Once upon")"));
    const auto echo = parse("/v1/completions", R"({"model":"r1","prompt":"Once","echo":true})");
    EXPECT_THAT(encode(echo, vllm_kind, "m", {}).body, HasSubstr(R"("echo":true)"));
    const auto body = encode(echo, vllm_kind, "m", {"", "Once upon"}).body;
    EXPECT_THAT(body, HasSubstr(R"("prompt":"Once upon")"));
    EXPECT_THAT(body, Not(HasSubstr("echo")));
}

TEST(Upstream, KnowsWhichAnswersCanBeContinued) {
    const auto two = chat_request(R"(,"n":2)");
    const auto raw = parse("/v1/completions", R"({"model":"r1","prompt":"Once"})");
    const auto ids = parse("/v1/completions", R"({"model":"r1","prompt":[1]})");
    EXPECT_TRUE(can_continue(holdfast_kind, two.generation));
    EXPECT_TRUE(can_continue(holdfast_kind, ids.generation));
    EXPECT_FALSE(can_continue(vllm_kind, chat_request().generation));
    EXPECT_FALSE(can_continue(llama_server_kind, chat_request().generation));
    EXPECT_FALSE(can_continue(openai_kind, chat_request().generation));
    EXPECT_TRUE(can_continue(openai_kind, raw.generation));
    EXPECT_FALSE(can_continue(vllm_kind, two.generation));
    EXPECT_FALSE(can_continue(vllm_kind, ids.generation));
}

TEST(Kinds, AreFoundByTheirNames) {
    for (const Kind* kind : kinds()) {
        EXPECT_EQ(find_kind(kind->name), kind);
    }
    EXPECT_THAT(find_kind("olama").error().what, HasSubstr("\"olama\""));
}

chat::Generation one_choice() {
    chat::Generation asked = anything();
    asked.choices = 1;
    return asked;
}

chat::Event read_one(std::string_view chunk,
                     EventReader reader = EventReader(holdfast_kind, {}, anything())) {
    auto read = reader.read(chunk);
    EXPECT_TRUE(read.has_value()) << read.error().what;
    EXPECT_TRUE(read->event.has_value());
    return read->event.value_or(chat::Event{});
}

TEST(UpstreamReader, ReadsTheChunksOfOtherServers) {
    EventReader reader(vllm_kind, {});
    // The role comes first and says nothing.
    auto role = reader.read(
        R"({"id":"c","object":"chat.completion.chunk","created":1,"model":"m",)"
        R"("choices":[{"index":0,"delta":{"role":"assistant","content":null},"logprobs":null,)"
        R"("finish_reason":null}],"usage":null})");
    ASSERT_TRUE(role.has_value());
    EXPECT_FALSE(role->event.has_value());
    // Members in any order, both names, things nobody asked for.
    EXPECT_EQ(text(read_one(
                  R"( {"usage":{"prompt_tokens":1,"completion_tokens":1},"choices":[{)"
                  R"("finish_reason":null,"delta":{"tool_calls":[{"a":[1]}],"reasoning":"hm",)"
                  R"("reasoning_content":"hm"},"x":{"y":[]},"index":3}],"timings":{"a":1.5}} )")),
              "3 [] 'hm' ''");
    EXPECT_EQ(
        text(read_one(R"({"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"usage":)"
                      R"({"completion_tokens":3,"prompt_tokens":2,"total_tokens":5,)"
                      R"("prompt_tokens_details":null,"completion_tokens_details":{"x":null}}})",
                      EventReader(vllm_kind, {}, one_choice()))),
        "0 [] '' '' finish 0 usage 2 3 0 0");
    EXPECT_EQ(text(read_one(R"({"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":3,)"
                            R"("prompt_tokens_details":{"cached_tokens":1}}})")),
              "0 [] '' '' usage 2 3 0 1");
    EXPECT_EQ(
        text(read_one(R"({"choices":[{"index":0,"text":" upon","finish_reason":"length"}]})")),
        "0 [] '' ' upon' finish 1");
}

TEST(UpstreamReader, TakesErrorsInsideAStreamForWhatTheyAre) {
    const auto error = [](std::string_view data) {
        EventReader reader;
        auto read = reader.read(data);
        EXPECT_FALSE(read.has_value());
        return read.error();
    };
    auto late = error(R"({"error":{"message":"Too late.","type":"api_error","param":null,)"
                      R"("code":"deadline_exceeded"}})");
    EXPECT_EQ(late.code, base::Code::deadline);
    EXPECT_EQ(late.origin, base::Origin::instance);
    EXPECT_EQ(late.retry, base::Retry::no);
    EXPECT_EQ(late.what, "Too late.");
    auto dead =
        error(R"({"error":{"message":"EngineDead","type":"InternalServerError","code":500}})");
    EXPECT_EQ(dead.code, base::Code::unavailable);
    EXPECT_EQ(dead.retry, base::Retry::elsewhere);
    EXPECT_EQ(error(R"({"error":{"message":"bad","code":400}})").code, base::Code::invalid);
    EXPECT_EQ(error(R"({"error":"out of memory"})").what, "out of memory");
    EXPECT_EQ(error(R"({"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]})").code,
              base::Code::unavailable);
}

TEST(UpstreamReader, RefusesWhatIsNotAChunk) {
    EventReader reader;
    for (const std::string_view bad :
         {"",
          " ",
          "null",
          "[]",
          "[DONE",
          "\xFF",
          "{\"choices\":{}}",
          R"({"choices":[1]})",
          R"({"choices":[{"index":-1,"delta":{}}]})",
          R"({"choices":[{"index":16,"delta":{}}]})",
          R"({"choices":[{"index":1e9,"delta":{}}]})",
          R"({"choices":[{"index":0,"delta":[]}]})",
          R"({"choices":[{"index":0,"delta":{"content":5}}]})",
          R"({"choices":[{"index":0,"delta":{"content":"a}}]})",
          R"({"choices":[{"index":0,"delta":{"content":"\ud800"}}]})",
          R"({"choices":[{"index":0,"delta":{}}]} {})",
          R"({"choices":[{"index":0,"delta":{}}])",
          R"({"choices":[],"holdfast":{"ids":[-1]}})",
          R"({"choices":[],"holdfast":{"ids":[2147483648]}})",
          R"({"choices":[],"holdfast":{"ids":[16777216]}})",
          R"({"choices":[{"index":0,"delta":{},"finish_reason":7}]})",
          R"({"choices":[{"index":0,"delta":{},"finish_reason":"a strange word"}]})",
          R"({"choices":[{"index":0,"delta":{},"logprobs":{"content":7}}]})",
          R"({"choices":[],"holdfast":{"ids":"1"}})"}) {
        const auto read = reader.read(bad);
        ASSERT_FALSE(read.has_value()) << bad;
        EXPECT_EQ(read.error().code, base::Code::corrupt) << bad;
        EXPECT_EQ(read.error().origin, base::Origin::instance);
    }
    // A reader stays usable.
    EXPECT_TRUE(reader.read(R"({"choices":[{"index":0,"delta":{"content":"a"}}]})").has_value());
}

TEST(UpstreamReader, ReadsTheExtensionOfHoldfastInstancesAlone) {
    EventReader reader(vllm_kind, {});
    const auto read = reader.read(
        R"({"choices":[{"index":0,"delta":{"content":"a"}}],"holdfast":{"ids":[2147483647]}})");
    ASSERT_TRUE(read);
    ASSERT_TRUE(read->event);
    EXPECT_EQ(read->event->content, "a");
    EXPECT_TRUE(read->event->ids.empty());
}

TEST(UpstreamReader, NeverTakesACutChunkForAWholeOne) {
    const std::string chunk =
        R"({"id":"c","choices":[{"index":0,"delta":{"content":"abc \u00e9"},)"
        R"("finish_reason":"stop"}],)"
        R"("usage":{"prompt_tokens":1,"completion_tokens":2},"holdfast":{"ids":[1,22]}})";
    EventReader reader;
    for (std::size_t length = 0; length < chunk.size(); ++length) {
        EXPECT_FALSE(reader.read(std::string_view(chunk).substr(0, length)).has_value()) << length;
    }
    EXPECT_TRUE(reader.read(chunk).has_value());
}

// Feeds `content` in pieces of `size` bytes and joins what comes out.
std::pair<std::string, std::string> split(const Delivered& delivered, std::string content,
                                          std::size_t size) {
    EventReader reader(llama_server_kind, delivered);
    std::pair<std::string, std::string> parts;
    while (true) {
        std::string piece = content.substr(0, size);
        content.erase(0, piece.size());
        const bool last = content.empty();
        for (std::size_t at = 0; (at = piece.find('\n', at)) != std::string::npos; at += 2) {
            piece.replace(at, 1, "\\n");
        }
        auto read = reader.read(fmt::format(
            R"({{"choices":[{{"index":0,"delta":{{"content":"{}"}},"finish_reason":{}}}]}})", piece,
            last ? "\"stop\"" : "null"));
        EXPECT_TRUE(read.has_value());
        if (read->event) {
            parts.first += read->event->reasoning;
            parts.second += read->event->content;
        }
        if (last) return parts;
    }
}

TEST(UpstreamReader, SplitsThinkingThatAServerLeavesInTheContentHoweverItIsCut) {
    using Parts = std::pair<std::string, std::string>;
    for (std::size_t size = 1; size < 40; ++size) {
        SCOPED_TRACE(size);
        EXPECT_EQ(split({}, "<think>\nh\nm\n</think>\n\nSo: a\n", size), Parts("h\nm", "So: a\n"));
        EXPECT_EQ(split({}, "<think>\n\n</think>\n\nSo", size), Parts("", "So"));
        EXPECT_EQ(split({}, "<thing> </think>", size), Parts("", "<thing> </think>"));
        EXPECT_EQ(split({}, "<thi", size), Parts("", "<thi"));
        EXPECT_EQ(split({}, "<think>\nh </thin", size), Parts("h </thin", ""));
        EXPECT_EQ(split({"I", ""}, " see\n</think>\n\n<think>", size), Parts(" see", "<think>"));
        EXPECT_EQ(split({"I", "So"}, " it </think> is", size), Parts("", " it </think> is"));
    }
}

TEST(UpstreamReader, TakesReasoningOfAContinuedAnswerForTheAnswer) {
    EventReader reader(vllm_kind, {"I see", "So"});
    const auto event =
        read_one(R"({"choices":[{"index":0,"delta":{"reasoning":" it is"}}]})", std::move(reader));
    EXPECT_EQ(text(event), "0 [] '' ' it is'");
}

TEST(UpstreamReader, ReadsWhatServersSendAsTheGoldenFileSays) {
    const std::string file = "upstream/answers.txt";
    std::vector<dialect::GoldenCase> cases = dialect::read_golden(file);
    for (dialect::GoldenCase& golden : cases) {
        SCOPED_TRACE(golden.name);
        const std::size_t bar = golden.name.find(" | ");
        ASSERT_NE(bar, std::string::npos);
        const Kind* const kind = *find_kind(golden.name.substr(bar + 3));
        chat::Generation asked = anything();
        asked.choices = golden.name.starts_with("all choices") ? 2 : 1;
        std::string whole;
        // Wherever the bytes are cut, the same events come out.
        for (const std::size_t piece : {golden.given.size() + 2, std::size_t{1}, std::size_t{7}}) {
            Reader reader(*kind, asked, {});
            std::string out;
            const std::string stream = golden.given + "\n\n";
            bool done = false;
            for (std::size_t at = 0; at < stream.size(); at += piece) {
                reader.feed(stream.substr(at, piece));
                while (true) {
                    const auto read = reader.next();
                    ASSERT_TRUE(read) << read.error().what;
                    if (!*read) break;
                    if ((*read)->event) out += text(*(*read)->event) + '\n';
                    done = done || (*read)->done;
                }
            }
            EXPECT_TRUE(done);
            if (whole.empty()) whole = out;
            EXPECT_EQ(out, whole);
        }
        whole.pop_back();
        if (dialect::update_golden()) golden.expected = whole;
        EXPECT_EQ(whole, golden.expected);
    }
    if (dialect::update_golden()) dialect::write_golden(file, cases);
}

TEST(UpstreamReader, BelievesNoFigureThatCannotBe) {
    for (const std::string_view usage :
         {R"({"prompt_tokens":-5,"completion_tokens":1})", R"({"prompt_tokens":99999999999})",
          R"({"prompt_tokens":1.5})", R"({"prompt_tokens":"1"})", R"([])", R"("x")",
          R"({"completion_tokens_details":{"reasoning_tokens":-1}})"}) {
        EventReader reader;
        const auto read = reader.read(fmt::format(R"({{"choices":[],"usage":{}}})", usage));
        ASSERT_TRUE(read) << usage;
        EXPECT_FALSE(read->event) << usage;
    }
    const auto event = read_one(R"({"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":3,)"
                                R"("completion_tokens_details":{"reasoning_tokens":9},)"
                                R"("prompt_tokens_details":{"cached_tokens":8}}})");
    EXPECT_EQ(text(event), "0 [] '' '' usage 2 3 3 2");
}

TEST(UpstreamReader, TakesNoMoreThanWasAskedFor) {
    chat::Generation asked;
    asked.stopping.max_tokens = 2;
    const auto corrupt = [&](const std::vector<std::string>& chunks, const Kind& kind) {
        EventReader reader(kind, {}, asked);
        for (const std::string& chunk : chunks) {
            const auto read = reader.read(chunk);
            if (!read) return read.error().code == base::Code::corrupt;
        }
        return false;
    };
    EXPECT_TRUE(corrupt({R"({"choices":[{"index":1,"delta":{"content":"a"}}]})"}, openai_kind));
    const std::string two = R"({"choices":[{"index":0,"delta":{}}],"holdfast":{"ids":[1,2]}})";
    EXPECT_FALSE(corrupt({two}, holdfast_kind));
    EXPECT_TRUE(corrupt({two, two}, holdfast_kind));
    const std::string much = fmt::format(R"({{"choices":[{{"delta":{{"content":"{}"}}}}]}})",
                                         std::string(token_bytes_max, 'x'));
    EXPECT_FALSE(corrupt({much, much}, openai_kind));
    EXPECT_TRUE(corrupt({much, much, much}, openai_kind));
}

TEST(UpstreamReader, DropsWhatComesAfterAFinishAndAfterTheEnd) {
    EventReader reader(holdfast_kind, {}, one_choice());
    const std::string_view finish =
        R"({"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]})";
    EXPECT_TRUE(reader.read(finish)->event);
    EXPECT_FALSE(reader.read(finish)->event);
    Reader ended(holdfast_kind, anything(), {});
    ended.feed("data: [DONE]\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
    EXPECT_TRUE((*ended.next())->done);
    EXPECT_FALSE(*ended.next());
    ended.feed("garbage\n\ndata: garbage\n\n");
    EXPECT_FALSE(*ended.next());
}

TEST(UpstreamReader, EndsAnEventThatNeverEnds) {
    Reader reader(openai_kind, anything(), {});
    std::size_t fed = 0;
    const std::string piece(65'536, 'x');
    while (true) {
        reader.feed(piece);
        fed += piece.size();
        const auto read = reader.next();
        if (!read) {
            EXPECT_EQ(read.error().code, base::Code::corrupt);
            EXPECT_EQ(read.error().origin, base::Origin::instance);
            break;
        }
        ASSERT_LE(fed, 2 * event_bytes_max);
    }
}

TEST(UpstreamReader, SplitsTheThinkingOfEachChoiceByItself) {
    chat::Generation asked = anything();
    asked.choices = 2;
    EventReader reader(vllm_kind, {}, asked);
    const auto say = [&](int choice, std::string_view content) {
        const auto read = reader.read(fmt::format(
            R"({{"choices":[{{"index":{},"delta":{{"content":"{}"}}}}]}})", choice, content));
        return read && read->event ? text(*read->event) : "";
    };
    EXPECT_EQ(say(0, "<think>"), "");
    EXPECT_EQ(say(1, "plain"), "1 [] '' 'plain'");
    EXPECT_EQ(say(0, "a"), "0 [] 'a' ''");
    EXPECT_EQ(say(1, " text"), "1 [] '' ' text'");
    EXPECT_EQ(say(0, "</think>b"), "0 [] '' 'b'");
}

TEST(UpstreamErrors, BoundWhatAHostileInstanceSays) {
    const std::string longer(100'000, 'x');
    const auto error = read_error(
        400,
        fmt::format(R"({{"error":{{"message":"a\nb{0}","param":"{0}","code":"{0}"}}}})", longer));
    EXPECT_TRUE(error.what.starts_with("a b"));
    EXPECT_EQ(error.what.size(), message_bytes_max);
    EXPECT_EQ(error.field.size(), word_bytes_max);
    EXPECT_EQ(error.tag.size(), word_bytes_max);
}

TEST(UpstreamErrors, KeepWhatTheClientMustKnowAndHideTheRest) {
    auto error =
        read_error(400, R"({"error":{"message":"Too long.","type":"invalid_request_error",)"
                        R"("param":"messages","code":"context_length_exceeded"}})");
    EXPECT_EQ(error.code, base::Code::invalid);
    EXPECT_EQ(error.origin, base::Origin::client);
    EXPECT_EQ(error.what, "Too long.");
    EXPECT_EQ(error.field, "messages");
    EXPECT_EQ(error.tag, "context_length_exceeded");
    error = read_error(
        400,
        R"({"object":"error","message":"Bad.","type":"BadRequestError","param":null,"code":400})");
    EXPECT_EQ(error.what, "Bad.");
    EXPECT_EQ(error.tag, "");
    EXPECT_EQ(read_error(404, R"({"detail":"Not Found"})").what, "Not Found");
    EXPECT_EQ(read_error(404, R"({"error":"no such model"})").code, base::Code::not_found);
    EXPECT_EQ(read_error(413, "").tag, "payload_too_large");
}

TEST(UpstreamErrors, SayWhetherAnotherInstanceMayHelp) {
    using base::Code;
    using base::Retry;
    const auto retry = [](int status, std::string_view body = "<html>") {
        const auto error = read_error(status, body);
        EXPECT_FALSE(error.what.empty());
        return std::pair(error.code, error.retry);
    };
    EXPECT_EQ(retry(400), std::pair(Code::invalid, Retry::no));
    EXPECT_EQ(retry(401), std::pair(Code::unavailable, Retry::elsewhere));
    EXPECT_EQ(retry(409, R"({"error":{"message":"x","code":"fingerprint_mismatch"}})"),
              std::pair(Code::unavailable, Retry::elsewhere));
    EXPECT_EQ(retry(429), std::pair(Code::overloaded, Retry::elsewhere));
    EXPECT_EQ(retry(500), std::pair(Code::unavailable, Retry::elsewhere));
    EXPECT_EQ(retry(503), std::pair(Code::overloaded, Retry::elsewhere));
    EXPECT_EQ(retry(504, R"({"error":{"message":"x","code":"deadline_exceeded"}})"),
              std::pair(Code::deadline, Retry::no));
    EXPECT_EQ(retry(302), std::pair(Code::unavailable, Retry::elsewhere));
    EXPECT_LE(
        read_error(400, R"({"error":{"message":")" + std::string(9000, 'x') + R"("}})").what.size(),
        1000U);
}

}  // namespace
}  // namespace holdfast::upstream
