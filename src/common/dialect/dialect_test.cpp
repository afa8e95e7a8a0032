#include "common/dialect/dialect.h"

#include <gtest/gtest.h>
#include <simdjson.h>

#include <set>

#include "common/dialect/golden_test.h"
#include "common/json/writer.h"

namespace holdfast::dialect {
namespace {

const Dialect& chat() { return *find("POST", "/v1/chat/completions").dialect; }
const Dialect& completions() { return *find("POST", "/v1/completions").dialect; }

base::Result<chat::Request> parse(const Dialect& dialect, std::string_view body) {
    return dialect.routes.front().parse(body);
}

std::string escaped(std::string_view text) {
    std::string out;
    json::append_escaped(out, text);
    return out;
}

template <class Ids>
std::string list(const Ids& ids) {
    return fmt::format("{}", fmt::join(ids, " "));
}

void summarize_prompt(const chat::Generation& request, std::string& out) {
    constexpr std::string_view roles[] = {"system", "user", "assistant", "tool"};
    if (const auto* messages = std::get_if<std::vector<chat::Message>>(&request.prompt)) {
        for (const auto& message : *messages) {
            out += fmt::format("{}: {}", roles[static_cast<int>(message.role)],
                               escaped(message.content));
            if (!message.reasoning.empty())
                out += fmt::format(" (thinking: {})", message.reasoning);
            out += '\n';
        }
    } else if (const auto* text = std::get_if<std::string>(&request.prompt)) {
        out += fmt::format("prompt {}\n", *text);
    } else {
        out += fmt::format("prompt ids {}\n",
                           list(std::get<std::vector<chat::TokenId>>(request.prompt)));
    }
}

// What differs from a request without fields, one line each.
std::string summarize(const chat::Request& whole) {
    const chat::Generation& request = whole.generation;
    const chat::Presentation& shown = whole.presentation;
    const chat::Sampling& sampling = request.sampling;
    const chat::Stopping& stopping = request.stopping;
    constexpr std::string_view forms[] = {"reasoning_content", "reasoning", "both", "inline"};
    std::string out = fmt::format("model {}\n", whole.model);
    summarize_prompt(request, out);
    const auto show = [&](std::string_view name, auto value, auto usual) {
        if (value != usual) out += fmt::format("{} {}\n", name, value);
    };
    const auto flag = [&](std::string_view name, bool value) {
        if (value) out += fmt::format("{}\n", name);
    };
    show("temperature", sampling.temperature, 1.0F);
    show("top_p", sampling.top_p, 1.0F);
    show("top_k", sampling.top_k, 0);
    show("min_p", sampling.min_p, 0.0F);
    show("repetition_penalty", sampling.repetition_penalty, 1.0F);
    show("presence_penalty", sampling.presence_penalty, 0.0F);
    show("frequency_penalty", sampling.frequency_penalty, 0.0F);
    if (sampling.seed) out += fmt::format("seed {}\n", *sampling.seed);
    if (!sampling.logit_bias.empty()) {
        out += "logit_bias";
        for (const auto& [id, bias] : sampling.logit_bias) out += fmt::format(" {}:{}", id, bias);
        out += '\n';
    }
    if (stopping.max_tokens) out += fmt::format("max_tokens {}\n", *stopping.max_tokens);
    show("min_tokens", stopping.min_tokens, 0U);
    for (const auto& stop : stopping.stop) out += fmt::format("stop {}\n", stop);
    flag("stop_in_reasoning", stopping.stop_in_reasoning);
    if (!stopping.stop_token_ids.empty()) {
        out += fmt::format("stop_token_ids {}\n", list(stopping.stop_token_ids));
    }
    flag("ignore_eos", stopping.ignore_eos);
    show("n", request.choices, 1U);
    if (request.logprobs) out += fmt::format("logprobs {}\n", *request.logprobs);
    flag("echo", request.echo);
    flag("stream", shown.stream);
    flag("include_usage", shown.include_usage);
    show("reasoning", forms[static_cast<int>(shown.reasoning)], forms[0]);
    flag("want_ids", shown.want_ids);
    if (request.resume) {
        out += "resume";
        for (const auto& ids : request.resume->ids) out += fmt::format(" [{}]", list(ids));
        out += '\n';
    }
    if (!whole.user.empty()) out += fmt::format("user {}\n", whole.user);
    out.pop_back();
    return out;
}

void compare_requests(const Dialect& dialect, const std::string& file) {
    std::vector<GoldenCase> cases = read_golden(file);
    for (GoldenCase& golden : cases) {
        SCOPED_TRACE(file + ": " + golden.name);
        const auto request = parse(dialect, expand_copies(golden.given));
        const std::string found =
            request ? summarize(*request)
                    : fmt::format("error {}\n{}", request.error().field, request.error().what);
        if (update_golden()) golden.expected = found;
        EXPECT_EQ(found, golden.expected);
        if (request) continue;
        EXPECT_EQ(request.error().code, base::Code::invalid);
        EXPECT_EQ(dialect.render_error(request.error()).status, 400);
    }
    if (update_golden()) write_golden(file, cases);
}

TEST(ChatDialect, ReadsAndRefusesRequestsAsTheGoldenFileSays) {
    compare_requests(chat(), "dialect/chat_requests.txt");
}

TEST(CompletionsDialect, ReadsAndRefusesRequestsAsTheGoldenFileSays) {
    compare_requests(completions(), "dialect/completions_requests.txt");
}

TEST(ChatDialect, RefusesBytesThatAreNotUtf8AndAByteOrderMark) {
    const std::string good = R"({"model":"r1","messages":[{"role":"user","content":"x"}]})";
    for (const std::string& bad :
         {std::string("\xEF\xBB\xBF") + good, std::string(R"({"model":")") + "\xC0\xAF\"}",
          std::string(R"({"model":")") + "\xED\xA0\x80\"}", std::string("\xFF\xFE{\0}\0", 6)}) {
        const auto request = parse(chat(), bad);
        ASSERT_FALSE(request.has_value());
        EXPECT_EQ(request.error().code, base::Code::invalid);
    }
}

TEST(ChatDialect, RefusesAMillionCollidingKeysAtOnce) {
    std::string body = R"({"model":"r1","messages":[{"role":"user","content":"x"}])";
    for (int i = 0; i < 1'000'000; ++i) body += R"(,"temperaturf":1)";
    body += '}';
    EXPECT_EQ(parse(chat(), body).error().what, "The body must not have more than 1024 members.");
}

TEST(ChatDialect, SurvivesEveryCutOfARequest) {
    const std::string body =
        R"({"model":"r1","messages":[{"role":"user","content":[{"type":"text",)"
        R"("text":"é\u00e9"}]}],)"
        R"("logit_bias":{"1":1e1},"stop":["a"],"holdfast":{"ids":true,"resume":[[1,2]]}})";
    for (std::size_t length = 0; length < body.size(); ++length) {
        EXPECT_FALSE(parse(chat(), body.substr(0, length)).has_value()) << length;
    }
    EXPECT_TRUE(parse(chat(), body).has_value());
}

TEST(ChatDialect, SurvivesEveryChangedByteOfARequest) {
    const std::string body =
        R"({"model":"r1","messages":[{"role":"user","content":"\u00e9"}],"n":2,"seed":5})";
    for (std::size_t at = 0; at < body.size(); ++at) {
        for (const char byte : {'\0', '"', '{', ']', '\\', '9', '-', 'e', '\xFF'}) {
            std::string changed = body;
            changed[at] = byte;
            if (const auto request = parse(chat(), changed); !request) {
                EXPECT_FALSE(request.error().what.empty());
            }
        }
    }
}

// One event a line: "0 ids=1,2 reasoning=… content=… finish=stop usage=3,2,1,0 score=a:-0.5".
chat::Event read_event(const std::string& line) {
    chat::Event event;
    std::istringstream words(line);
    words >> event.choice;
    const auto unescape = [](std::string text) {
        for (std::size_t at = 0; (at = text.find('\\', at)) != std::string::npos; ++at) {
            const char kind = text.at(at + 1);
            if (kind == 'x') {
                text.replace(at, 4, 1,
                             static_cast<char>(std::stoi(text.substr(at + 2, 2), nullptr, 16)));
            } else {
                text.replace(at, 2, 1, kind == 'n' ? '\n' : kind == 's' ? ' ' : kind);
            }
        }
        return text;
    };
    for (std::string word; words >> word;) {
        const std::string key = word.substr(0, word.find('='));
        const std::string value = unescape(word.substr(key.size() + 1));
        std::istringstream numbers(value);
        if (key == "ids") {
            for (std::string id; std::getline(numbers, id, ',');)
                event.ids.push_back(std::stoi(id));
        } else if (key == "reasoning") {
            event.reasoning = value;
        } else if (key == "content") {
            event.content = value;
        } else if (key == "finish") {
            event.finish =
                value == "length" ? chat::FinishReason::length : chat::FinishReason::stop;
        } else if (key == "score" || key == "top") {
            const std::string bytes = value.substr(0, value.rfind(':'));
            const float logprob = std::stof(value.substr(bytes.size() + 1));
            if (key == "score") {
                event.scores.push_back({0, bytes, logprob, {}});
            } else {
                event.scores.back().top.push_back({0, bytes, logprob});
            }
        } else if (key == "usage") {
            char comma;
            auto& usage = event.usage.emplace();
            numbers >> usage.prompt_tokens >> comma >> usage.completion_tokens >> comma >>
                usage.reasoning_tokens >> comma >> usage.cached_tokens;
        } else {
            ADD_FAILURE() << "unknown key " << key;
        }
    }
    return event;
}

std::string encode(const std::string& given) {
    std::istringstream lines(given);
    std::string first, body;
    std::getline(lines, first);
    std::getline(lines, body);
    const Dialect& dialect = first == "chat" ? chat() : completions();
    const auto request = parse(dialect, body);
    if (!request) return request.error().what;
    const AnswerHead head{std::string(dialect.id_prefix) + "7", 1'700'000'000, request->model};
    const auto encoder = dialect.make_encoder(*request, head);
    std::string out;
    for (std::string line; std::getline(lines, line);) {
        if (line == "error") {
            encoder->error({base::Code::deadline, "Too late."}, out);
            return out;
        }
        encoder->event(read_event(line), out);
    }
    encoder->end(out);
    return out;
}

TEST(Encoders, WriteAnswersAsTheGoldenFileSays) {
    std::vector<GoldenCase> cases = read_golden("dialect/answers.txt");
    for (GoldenCase& golden : cases) {
        SCOPED_TRACE(golden.name);
        std::string out = encode(golden.given);
        std::istringstream events(out);
        for (std::string line; std::getline(events, line);) {
            if (line.empty() || line == "data: [DONE]") continue;
            const std::string json = line.starts_with("data: ") ? line.substr(6) : line;
            simdjson::dom::parser parser;
            EXPECT_EQ(parser.parse(json).error(), simdjson::SUCCESS) << json;
        }
        while (out.ends_with('\n')) out.pop_back();
        if (update_golden()) golden.expected = out;
        EXPECT_EQ(out, golden.expected);
    }
    if (update_golden()) write_golden("dialect/answers.txt", cases);
}

TEST(Errors, HaveTheStatusTypeAndCodeThatClientsExpect) {
    using base::Code;
    const auto status = [](Code code, std::string tag) {
        return render_error({code, "x", base::Origin::self, base::Retry::no, "", std::move(tag)})
            .status;
    };
    EXPECT_EQ(status(Code::invalid, ""), 400);
    EXPECT_EQ(status(Code::invalid, "context_length_exceeded"), 400);
    EXPECT_EQ(status(Code::not_found, "model_not_found"), 404);
    EXPECT_EQ(status(Code::not_found, ""), 404);
    EXPECT_EQ(status(Code::invalid, "method_not_allowed"), 405);
    EXPECT_EQ(status(Code::invalid, "request_timeout"), 408);
    EXPECT_EQ(status(Code::unavailable, "fingerprint_mismatch"), 409);
    EXPECT_EQ(status(Code::invalid, "payload_too_large"), 413);
    EXPECT_EQ(status(Code::invalid, "unsupported_media_type"), 415);
    EXPECT_EQ(status(Code::overloaded, "rate_limit_exceeded"), 429);
    EXPECT_EQ(status(Code::invalid, "header_too_large"), 431);
    EXPECT_EQ(status(Code::internal, ""), 500);
    EXPECT_EQ(status(Code::corrupt, ""), 502);
    EXPECT_EQ(status(Code::overloaded, ""), 503);
    EXPECT_EQ(status(Code::unavailable, "no_ready_instance"), 503);
    EXPECT_EQ(status(Code::deadline, ""), 504);
    EXPECT_EQ(status(Code::invalid, "a_word_of_another_server"), 400);
}

TEST(Errors, AreOpenAisObjectAndKeepInternalsToThemselves) {
    EXPECT_EQ(render_error({base::Code::not_found, "No \"x\".", base::Origin::client,
                            base::Retry::no, "model", "model_not_found"})
                  .body,
              R"({"error":{"message":"No \"x\".","type":"invalid_request_error","param":"model",)"
              R"("code":"model_not_found"}})");
    const auto hidden = render_error({base::Code::internal, "segment at 0xdeadbeef"});
    EXPECT_EQ(hidden.body.find("0xdeadbeef"), std::string::npos);
    EXPECT_EQ(render_status(431, "too many fields").body,
              R"({"error":{"message":"too many fields","type":"invalid_request_error",)"
              R"("param":null,"code":"header_too_large"}})");
    EXPECT_EQ(render_status(404, "x").status, 404);
    EXPECT_EQ(render_status(501, "x").status, 501);
}

TEST(Dialects, AreFoundByMethodAndPathAndHaveDistinctNames) {
    std::set<std::string_view> names;
    for (const Dialect* dialect : dialects()) {
        for (const Route& route : dialect->routes) {
            const Found found = find(route.method, route.path);
            EXPECT_EQ(found.dialect, dialect);
            EXPECT_EQ(found.route, &route);
        }
        EXPECT_TRUE(names.insert(dialect->name).second);
    }
    EXPECT_EQ(find("POST", "/v1/chat/completion").dialect, nullptr);
    const Found wrong = find("GET", "/chat/completions");
    EXPECT_EQ(wrong.dialect, &chat());
    EXPECT_EQ(wrong.route, nullptr);
    EXPECT_EQ(wrong.methods, "POST");
}

}  // namespace
}  // namespace holdfast::dialect
