// OpenAI's text completions: POST /v1/completions. The model's raw text; thinking is not split off.
// An echoed prompt comes from the engine, as content of each choice's first event.
#include "common/dialect/openai_completions.h"

#include <utility>

#include "common/base/assert.h"
#include "common/dialect/limits.h"
#include "common/dialect/openai_answer.h"
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
        HF_TRY_ASSIGN(draft.request.prompt, read_ids(value));
        return {};
    }
    if (length > 1) return value.refuse("must not be a list of more than one prompt");
    return value.each_element([&](const json::Value& element) -> Result<> {
        if (element.is_array()) {
            HF_TRY_ASSIGN(auto ids, read_ids(element));
            if (ids.empty()) return element.refuse("must not be empty");
            draft.request.prompt = std::move(ids);
            return {};
        }
        HF_TRY_ASSIGN(const std::string_view text, element.string());
        draft.request.prompt = std::string(text);
        return {};
    });
}

Result<> read_prompt(const json::Value& value, Draft& draft) {
    draft.has_prompt = true;
    if (value.is_array()) return read_prompt_list(value, draft);
    if (!value.is_string())
        return value.wrong_type("a string, a list of token ids or a list of one prompt");
    HF_TRY_ASSIGN(const std::string_view text, value.string());
    draft.request.prompt = std::string(text);
    return {};
}

Result<> read_echo(const json::Value& value, Draft& draft) {
    HF_TRY_ASSIGN(draft.request.echo, value.boolean());
    return {};
}
Result<> read_logprobs(const json::Value& value, Draft& draft) {
    HF_TRY_ASSIGN(draft.request.logprobs, value.integer(0, alternatives_max));
    return {};
}
Result<> read_best_of(const json::Value& value, Draft& draft) {
    HF_TRY_ASSIGN(draft.best_of, value.integer(1, choices_max));
    return {};
}

constexpr Field completion_fields[] = {
    {"prompt", read_prompt},         {"echo", read_echo},
    {"logprobs", read_logprobs},     {"best_of", read_best_of},
    {"suffix", refuse_unless_empty},
};

Result<> check(Draft& draft) {
    HF_TRY(check_shared(draft));
    const chat::Request& request = draft.request;
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

class StreamEncoder final : public Encoder {
public:
    StreamEncoder(const chat::Request& request, const AnswerHead& head)
        : prefix_("data: " + answer_prefix(head, "text_completion")),
          want_ids_(request.want_ids),
          include_usage_(request.include_usage) {}

    void event(const chat::Event& event, std::string& out) override {
        if (event.usage) usage_ = event.usage;
        // With ids an event stays one chunk, so that a loss can never fall between its parts.
        if (want_ids_) {
            if (!event.ids.empty() || !event.content.empty() || event.finish) {
                chunk(event, event.finish, out);
            }
            return;
        }
        if (!event.content.empty() || !event.scores.empty()) {
            chunk(event, std::nullopt, out);
        }
        if (event.finish) {
            open(event.choice, {}, out);
            close(event.finish, out);
            out += "}\n\n";
        }
    }

    void end(std::string& out) override {
        if (include_usage_ && usage_) append_usage_chunk(out, prefix_, *usage_);
        out += done_event;
    }

    void error(const base::Error& error, std::string& out) override {
        append_error_event(out, error);
    }

private:
    // Characters that the scores of a choice have covered.
    std::uint64_t& offset_of(std::uint32_t index) {
        HF_ASSERT(index < choices_max);
        if (offsets_.size() <= index) offsets_.resize(index + 1);
        return offsets_[index];
    }
    void open(std::uint32_t index, std::string_view text, std::string& out) {
        out += prefix_;
        out += R"({"index":)";
        json::append_number(out, index);
        out += R"(,"text":)";
        json::append_string(out, text);
    }
    void close(std::optional<chat::FinishReason> finish, std::string& out) {
        if (finish) {
            out += R"(,"finish_reason":")";
            out += name(*finish);
            out += R"("}])";
        } else {
            out += R"(,"finish_reason":null}])";
        }
    }
    void chunk(const chat::Event& event, std::optional<chat::FinishReason> finish,
               std::string& out) {
        open(event.choice, event.content, out);
        if (!event.scores.empty()) {
            out += R"(,"logprobs":)";
            append_completion_scores(out, event.scores, offset_of(event.choice));
        }
        close(finish, out);
        if (want_ids_) append_ids(out, event.ids);
        out += "}\n\n";
    }

    std::string prefix_;
    bool want_ids_, include_usage_;
    std::vector<std::uint64_t> offsets_;
    std::optional<chat::Usage> usage_;
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

}  // namespace

base::Result<chat::Request> parse_completion(std::string_view body) {
    HF_TRY_ASSIGN(const json::Document document, json::Document::parse(body));
    Draft draft;
    HF_TRY(read_fields(document.root(), completion_fields, draft));
    HF_TRY(check(draft));
    return std::move(draft.request);
}

std::unique_ptr<Encoder> make_completion_stream_encoder(const chat::Request& request,
                                                        const AnswerHead& head) {
    return std::make_unique<StreamEncoder>(request, head);
}

std::unique_ptr<Encoder> make_completion_whole_encoder(const chat::Request& request,
                                                       const AnswerHead& head) {
    return std::make_unique<WholeTextEncoder>(request, head);
}

}  // namespace holdfast::dialect::openai
