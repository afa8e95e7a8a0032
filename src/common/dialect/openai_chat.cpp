// OpenAI's chat completions.
#include <algorithm>
#include <string_view>
#include <utility>

#include "common/dialect/limits.h"
#include "common/dialect/openai_answer.h"
#include "common/dialect/openai_error.h"
#include "common/dialect/openai_fields.h"
#include "common/dialect/openai_messages.h"
#include "common/json/writer.h"

namespace holdfast::dialect::openai {
namespace {

using base::Result;

Result<> read_prompt(const json::Value& value, Draft& draft) {
    HF_TRY_ASSIGN(draft.request.generation.prompt, read_messages(value));
    draft.has_prompt = true;
    return {};
}

Result<> read_logprobs(const json::Value& value, Draft& draft) {
    HF_TRY_ASSIGN(draft.wants_logprobs, value.boolean());
    return {};
}
Result<> read_top_logprobs(const json::Value& value, Draft& draft) {
    HF_TRY_ASSIGN(draft.top_logprobs, value.integer(0, alternatives_max));
    return {};
}
Result<> read_tools(const json::Value& value, Draft& draft) {
    HF_TRY_ASSIGN(const std::size_t length, value.length());
    draft.has_tools = length > 0;
    return {};
}
Result<> read_tool_choice(const json::Value& value, Draft& draft) {
    draft.tools_are_off = value.is_string() && *value.string() == "none";
    return {};
}

// Variables for the model's template. A template ignores those that it does not know, and R1's know
// only these, which are not the client's to set here.
Result<> read_template_variables(const json::Value& value, Draft&) {
    static constexpr std::string_view known[] = {
        "add_generation_prompt",  "bos_token", "chat_template",
        "continue_final_message", "messages",  "tools"};
    return value.each_field([](std::string_view key, const json::Value& member) -> Result<> {
        const bool is_known = std::ranges::find(known, key) != std::end(known);
        if (is_known && !member.is_null()) return member.refuse("is not supported by this server");
        return {};
    });
}

constexpr Field chat_fields[] = {
    {"messages", read_prompt},           {"logprobs", read_logprobs},
    {"top_logprobs", read_top_logprobs}, {"tools", read_tools},
    {"tool_choice", read_tool_choice},   {"add_special_tokens", refuse_unless<false>},
    {"echo", refuse_unless<false>},      {"chat_template_kwargs", read_template_variables},
};

Result<> check(Draft& draft) {
    if (!draft.has_prompt) return base::fail_field("messages", "messages must be given.");
    if (draft.has_tools && !draft.tools_are_off) {
        return base::fail_field("tools",
                                "tools is not supported by this server. Leave it out or "
                                "set tool_choice to \"none\".");
    }
    if (draft.top_logprobs.value_or(0) > 0 && !draft.wants_logprobs) {
        return base::fail_field("top_logprobs", "top_logprobs needs logprobs to be true.");
    }
    if (draft.wants_logprobs) draft.request.generation.logprobs = draft.top_logprobs.value_or(0);
    return check_shared(draft);
}

// Thinking and answer under the names that the client wants. One per choice.
class TextMembers {
public:
    explicit TextMembers(chat::ReasoningForm form) : form_(form) {}

    void write(json::Writer& json, std::string_view reasoning, std::string_view content,
               bool content_always) {
        using Form = chat::ReasoningForm;
        if (form_ == Form::inline_tags) {
            joined_.clear();
            inline_.append(joined_, reasoning, content);
            content = joined_;
        } else if (!reasoning.empty()) {
            if (form_ != Form::reasoning) json.string("reasoning_content", reasoning);
            if (form_ != Form::reasoning_content) json.string("reasoning", reasoning);
        }
        if (content_always || !content.empty()) json.string("content", content);
    }

private:
    chat::ReasoningForm form_;
    InlineThinking inline_;
    std::string joined_;
};

class ChatStreamEncoder final : public StreamEncoder {
public:
    ChatStreamEncoder(const chat::Request& request, const AnswerHead& head)
        : StreamEncoder(request, head, "chat.completion.chunk"),
          texts_(request.generation.choices, TextMembers(request.presentation.reasoning)) {}

private:
    void begin(std::uint32_t choice, std::string& out) override {
        open(choice, out);
        out += R"("delta":{"role":"assistant","content":""})";
        close(std::nullopt, {}, out);
    }

    void append_text(std::string& out, std::uint32_t choice, std::string_view reasoning,
                     std::string_view content) override {
        out += R"("delta":{)";
        json::Writer json(out);
        texts_[choice].write(json, reasoning, content, false);
        out += '}';
    }

    void append_scores(std::string& out, std::uint32_t,
                       std::span<const chat::TokenScore> scores) override {
        append_chat_scores(out, scores);
    }

    std::vector<TextMembers> texts_;
};

class WholeChatEncoder final : public WholeEncoder {
public:
    WholeChatEncoder(const chat::Request& request, const AnswerHead& head)
        : WholeEncoder(request, head, "chat.completion"), form_(request.presentation.reasoning) {}

private:
    void write_content(json::Writer& json, const CollectedChoice& choice) const override {
        json.key("message");
        json.begin_object();
        json.string("role", "assistant");
        TextMembers(form_).write(json, choice.reasoning, choice.content, true);
        json.key("refusal");
        json.null();
        json.end_object();
    }

    void append_scores(std::string& out, const CollectedChoice& choice) const override {
        append_chat_scores(out, choice.scores);
    }

    chat::ReasoningForm form_;
};

Result<chat::Request> parse_chat(std::string_view body) {
    HF_TRY_ASSIGN(const json::Document document, json::Document::parse(body));
    Draft draft;
    HF_TRY(read_fields(document.root(), chat_fields, draft));
    HF_TRY(check(draft));
    return std::move(draft.request);
}

std::unique_ptr<Encoder> make_encoder(const chat::Request& request, const AnswerHead& head) {
    if (request.presentation.stream) return std::make_unique<ChatStreamEncoder>(request, head);
    return std::make_unique<WholeChatEncoder>(request, head);
}

// llama-server's path without a version is in use by its clients.
constexpr Route routes[] = {
    {"POST", "/v1/chat/completions", parse_chat},
    {"POST", "/chat/completions", parse_chat},
};

}  // namespace
}  // namespace holdfast::dialect::openai

namespace holdfast::dialect {

extern constinit const Dialect openai_chat_dialect{
    .name = "openai_chat",
    .summary = "OpenAI's chat completions",
    .routes = openai::routes,
    .id_prefix = "chatcmpl-",
    .stream = server_sent_events,
    .whole = whole_json,
    .make_encoder = openai::make_encoder,
    .render_error = openai::render_error,
};

}  // namespace holdfast::dialect
