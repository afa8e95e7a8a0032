// OpenAI's text completions. The model's raw text; thinking is not split off.
// An echoed prompt comes from the engine, as content of each choice's first event.
#include <utility>

#include "common/dialect/limits.h"
#include "common/dialect/openai_answer.h"
#include "common/dialect/openai_error.h"
#include "common/dialect/openai_fields.h"
#include "common/json/writer.h"

namespace holdfast::dialect::openai {
namespace {

using base::Result;

// A list of prompts has one entry here; what a list holds is seen from its first element.
Result<> read_prompt_list(const json::Value& value, Draft& draft) {
    HF_TRY_ASSIGN(const std::size_t length, value.length());
    if (length == 0) return value.refuse("must not be empty");
    bool is_ids = false;
    HF_TRY(value.each_element([&](const json::Value& element) -> Result<> {
        is_ids = is_ids || element.is_number();
        return {};
    }));
    if (is_ids) {
        HF_TRY_ASSIGN(draft.request.generation.prompt, read_ids(value));
        return {};
    }
    if (length > 1) return value.refuse("must not be a list of more than one prompt");
    return value.each_element([&](const json::Value& element) -> Result<> {
        if (element.is_array()) {
            HF_TRY_ASSIGN(auto ids, read_ids(element));
            if (ids.empty()) return element.refuse("must not be empty");
            draft.request.generation.prompt = std::move(ids);
            return {};
        }
        HF_TRY_ASSIGN(const std::string_view text, element.string());
        draft.request.generation.prompt = std::string(text);
        return {};
    });
}

Result<> read_prompt(const json::Value& value, Draft& draft) {
    draft.has_prompt = true;
    if (value.is_array()) return read_prompt_list(value, draft);
    if (!value.is_string())
        return value.wrong_type("a string, a list of token ids or a list of one prompt");
    HF_TRY_ASSIGN(const std::string_view text, value.string());
    draft.request.generation.prompt = std::string(text);
    return {};
}

Result<> read_echo(const json::Value& value, Draft& draft) {
    HF_TRY_ASSIGN(draft.request.generation.echo, value.boolean());
    return {};
}
Result<> read_logprobs(const json::Value& value, Draft& draft) {
    HF_TRY_ASSIGN(draft.request.generation.logprobs, value.integer(0, alternatives_max));
    return {};
}
Result<> read_best_of(const json::Value& value, Draft& draft) {
    HF_TRY_ASSIGN(draft.best_of, value.integer(1, chat::choices_max));
    return {};
}

constexpr Field completion_fields[] = {
    {"prompt", read_prompt},         {"echo", read_echo},
    {"logprobs", read_logprobs},     {"best_of", read_best_of},
    {"suffix", refuse_unless_empty}, {"add_special_tokens", refuse_unless<true>},
};

Result<> check(Draft& draft) {
    HF_TRY(check_shared(draft));
    const chat::Generation& request = draft.request.generation;
    if (!draft.has_prompt) return base::fail_field("prompt", "prompt must be given.");
    if (draft.best_of && *draft.best_of != request.choices) {
        return base::fail_field("best_of", "best_of other than n is not supported by this server.");
    }
    if (request.echo && request.logprobs) {
        return base::fail_field("echo",
                                "echo together with logprobs is not supported by this "
                                "server.");
    }
    return {};
}

class TextStreamEncoder final : public StreamEncoder {
public:
    TextStreamEncoder(const chat::Request& request, const AnswerHead& head)
        : StreamEncoder(request, head, "text_completion"), offsets_(request.generation.choices) {}

private:
    void begin(std::uint32_t, std::string&) override {}

    void append_text(std::string& out, std::uint32_t, std::string_view,
                     std::string_view content) override {
        out += R"("text":)";
        json::append_string(out, content);
    }

    void append_scores(std::string& out, std::uint32_t choice,
                       std::span<const chat::TokenScore> scores) override {
        append_completion_scores(out, scores, offsets_[choice]);
    }

    std::vector<std::uint64_t> offsets_;  // characters that the scores of a choice have covered
};

class WholeTextEncoder final : public WholeEncoder {
public:
    WholeTextEncoder(const chat::Request& request, const AnswerHead& head)
        : WholeEncoder(request, head, "text_completion") {}

private:
    void write_content(json::Writer& json, const CollectedChoice& choice) const override {
        json.string("text", choice.content);
    }

    void append_scores(std::string& out, const CollectedChoice& choice) const override {
        std::uint64_t offset = 0;
        append_completion_scores(out, choice.scores, offset);
    }
};

Result<chat::Request> parse_completion(std::string_view body) {
    HF_TRY_ASSIGN(const json::Document document, json::Document::parse(body));
    Draft draft;
    HF_TRY(read_fields(document.root(), completion_fields, draft));
    HF_TRY(check(draft));
    return std::move(draft.request);
}

std::unique_ptr<Encoder> make_encoder(const chat::Request& request, const AnswerHead& head) {
    if (request.presentation.stream) return std::make_unique<TextStreamEncoder>(request, head);
    return std::make_unique<WholeTextEncoder>(request, head);
}

constexpr Route routes[] = {
    {"POST", "/v1/completions", parse_completion},
    {"POST", "/completions", parse_completion},
};

}  // namespace
}  // namespace holdfast::dialect::openai

namespace holdfast::dialect {

extern constinit const Dialect openai_completions_dialect{
    .name = "openai_completions",
    .summary = "OpenAI's text completions",
    .routes = openai::routes,
    .id_prefix = "cmpl-",
    .stream = server_sent_events,
    .whole = whole_json,
    .make_encoder = openai::make_encoder,
    .render_error = openai::render_error,
};

}  // namespace holdfast::dialect
