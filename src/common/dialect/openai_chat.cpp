// OpenAI's chat completions: POST /v1/chat/completions.
#include "common/dialect/openai_chat.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "common/base/assert.h"
#include "common/dialect/limits.h"
#include "common/dialect/openai_answer.h"
#include "common/dialect/openai_fields.h"
#include "common/json/writer.h"

namespace holdfast::dialect::openai {
namespace {

using base::Result;

Result<chat::Role> read_role(const json::Value& value) {
    HF_TRY_ASSIGN(const std::string_view text, value.string());
    if (text == "user") return chat::Role::user;
    if (text == "assistant") return chat::Role::assistant;
    if (text == "system" || text == "developer") return chat::Role::system;
    if (text == "tool") return chat::Role::tool;
    return value.refuse("must be \"system\", \"developer\", \"user\", \"assistant\" or \"tool\"");
}

Result<> add_part(const json::Value& part, std::string& content) {
    std::string_view type;
    bool has_text = false;
    std::string_view text;
    HF_TRY(part.each_member([&](std::string_view key, const json::Value& member) -> Result<> {
        if (key == "type") {
            HF_TRY_ASSIGN(type, member.string());
        } else if (key == "text") {
            HF_TRY_ASSIGN(text, member.string());
            has_text = true;
        }
        return {};
    }));
    if (type != "text") {
        return part.refuse(type.empty() ? std::string("must have a type")
                                        : std::string("is not of type \"text\"; this model reads "
                                                      "text only"));
    }
    if (!has_text) return part.refuse("must have a text");
    if (!content.empty()) content += '\n';
    content += text;
    return {};
}

Result<> read_content(const json::Value& value, std::string& content) {
    content.clear();
    if (value.is_array()) {
        return value.each_element([&](const json::Value& part) { return add_part(part, content); });
    }
    if (!value.is_string()) return value.wrong_type("a string or a list of parts");
    HF_TRY_ASSIGN(content, value.string());
    return {};
}

// What one message says, before its fields are weighed against each other.
struct MessageDraft {
    chat::Message message;
    bool has_role = false, has_content = false, has_call_id = false;
};

Result<> read_message_field(std::string_view key, const json::Value& value, MessageDraft& draft) {
    if (value.is_null()) return {};
    if (key == "role") {
        HF_TRY_ASSIGN(draft.message.role, read_role(value));
        draft.has_role = true;
    } else if (key == "content") {
        HF_TRY(read_content(value, draft.message.content));
        draft.has_content = true;
    } else if (key == "reasoning_content" || key == "reasoning") {
        HF_TRY_ASSIGN(draft.message.reasoning, value.string());
    } else if (key == "tool_call_id") {
        draft.has_call_id = true;
    } else if (key == "tool_calls" && (!value.is_array() || *value.length() > 0)) {
        return value.refuse("is not supported: this server has no tool calls");
    }
    return {};
}

Result<> add_message(const json::Value& value, std::vector<chat::Message>& messages) {
    MessageDraft draft;
    HF_TRY(value.each_member([&](std::string_view key, const json::Value& member) {
        return read_message_field(key, member, draft);
    }));
    if (!draft.has_role) return value.refuse("must have a role");
    const bool is_assistant = draft.message.role == chat::Role::assistant;
    if (!draft.has_content && !is_assistant) return value.refuse("must have content");
    if (draft.message.role == chat::Role::tool && draft.has_call_id) {
        return value.refuse("has a tool_call_id that no earlier message calls");
    }
    if (!is_assistant) draft.message.reasoning.clear();
    messages.push_back(std::move(draft.message));
    return {};
}

Result<> read_prompt(const json::Value& value, Draft& draft) {
    HF_TRY_ASSIGN(draft.request.prompt, read_messages(value));
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
    return value.each_member([](std::string_view key, const json::Value& member) -> Result<> {
        const bool is_known = std::ranges::find(known, key) != std::end(known);
        if (is_known && !member.is_null()) return member.refuse("is not supported by this server");
        return {};
    });
}

constexpr Field chat_fields[] = {
    {"messages", read_prompt},
    {"logprobs", read_logprobs},
    {"top_logprobs", read_top_logprobs},
    {"tools", read_tools},
    {"tool_choice", read_tool_choice},
    {"functions", refuse_unless_empty},
    {"chat_template", refuse_unless_empty},
    {"chat_template_kwargs", read_template_variables},
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
    if (draft.wants_logprobs) draft.request.logprobs = draft.top_logprobs.value_or(0);
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

class StreamEncoder final : public Encoder {
public:
    StreamEncoder(const chat::Request& request, const AnswerHead& head)
        : prefix_("data: " + answer_prefix(head, "chat.completion.chunk")),
          form_(request.reasoning_form),
          want_ids_(request.want_ids),
          include_usage_(request.include_usage) {}

    void event(const chat::Event& event, std::string& out) override {
        if (event.usage) usage_ = event.usage;
        Choice& choice = choice_of(event.choice);
        if (!std::exchange(choice.begun, true)) begin(event.choice, out);
        const bool has_text = !event.reasoning.empty() || !event.content.empty();
        // With ids an event stays one chunk, so that a loss can never fall between its parts.
        if (want_ids_) {
            if (!event.ids.empty() || has_text || event.finish) {
                chunk(event, choice, event.finish, out);
            }
            return;
        }
        if (has_text || !event.scores.empty()) chunk(event, choice, std::nullopt, out);
        if (event.finish) {
            open(event.choice, out);
            out += '}';
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
    struct Choice {
        TextMembers text;
        bool begun = false;
    };

    Choice& choice_of(std::uint32_t index) {
        HF_ASSERT(index < choices_max);
        while (choices_.size() <= index) choices_.push_back({TextMembers(form_)});
        return choices_[index];
    }
    void open(std::uint32_t index, std::string& out) {
        out += prefix_;
        out += R"({"index":)";
        json::append_number(out, index);
        out += R"(,"delta":{)";
    }
    // After the delta's closing brace.
    void close(std::optional<chat::FinishReason> finish, std::string& out) {
        if (finish) {
            out += R"(,"finish_reason":")";
            out += name(*finish);
            out += R"("}])";
        } else {
            out += R"(,"finish_reason":null}])";
        }
    }
    void begin(std::uint32_t index, std::string& out) {
        open(index, out);
        out += R"("role":"assistant","content":""})";
        close(std::nullopt, out);
        out += "}\n\n";
    }
    void chunk(const chat::Event& event, Choice& choice, std::optional<chat::FinishReason> finish,
               std::string& out) {
        open(event.choice, out);
        json::Writer json(out);
        choice.text.write(json, event.reasoning, event.content, false);
        out += '}';
        if (!event.scores.empty()) {
            out += R"(,"logprobs":)";
            append_chat_scores(out, event.scores);
        }
        close(finish, out);
        if (want_ids_) append_ids(out, event.ids);
        out += "}\n\n";
    }

    std::string prefix_;
    chat::ReasoningForm form_;
    bool want_ids_, include_usage_;
    std::vector<Choice> choices_;
    std::optional<chat::Usage> usage_;
};

class WholeChatEncoder final : public WholeEncoder {
public:
    WholeChatEncoder(const chat::Request& request, const AnswerHead& head)
        : WholeEncoder(request, head, "chat.completion"), form_(request.reasoning_form) {}

private:
    void write_content(json::Writer& json, const CollectedChoice& choice) const override {
        json.key("message");
        json.begin_object();
        json.string("role", "assistant");
        TextMembers(form_).write(json, choice.reasoning, choice.content, true);
        json.end_object();
    }

    void append_scores(std::string& out, const CollectedChoice& choice) const override {
        append_chat_scores(out, choice.scores);
    }

    chat::ReasoningForm form_;
};

}  // namespace

Result<std::vector<chat::Message>> read_messages(const json::Value& value) {
    HF_TRY_ASSIGN(const std::size_t length, value.length());
    if (length == 0) return value.refuse("must not be empty");
    if (length > messages_max) {
        return value.refuse(fmt::format("must not have more than {} entries", messages_max));
    }
    std::vector<chat::Message> messages;
    messages.reserve(length);
    HF_TRY(value.each_element(
        [&](const json::Value& message) { return add_message(message, messages); }));
    return messages;
}

base::Result<chat::Request> parse_chat(std::string_view body) {
    HF_TRY_ASSIGN(const json::Document document, json::Document::parse(body));
    Draft draft;
    HF_TRY(read_fields(document.root(), chat_fields, draft));
    HF_TRY(check(draft));
    return std::move(draft.request);
}

std::unique_ptr<Encoder> make_chat_stream_encoder(const chat::Request& request,
                                                  const AnswerHead& head) {
    return std::make_unique<StreamEncoder>(request, head);
}

std::unique_ptr<Encoder> make_chat_whole_encoder(const chat::Request& request,
                                                 const AnswerHead& head) {
    return std::make_unique<WholeChatEncoder>(request, head);
}

}  // namespace holdfast::dialect::openai
