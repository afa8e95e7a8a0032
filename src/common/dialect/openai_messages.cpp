#include "common/dialect/openai_messages.h"

#include <utility>

#include "common/dialect/limits.h"

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
    HF_TRY(part.each_field([&](std::string_view key, const json::Value& member) -> Result<> {
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
    } else if (key == "prefix") {
        HF_TRY_ASSIGN(const bool continues, value.boolean());
        if (continues)
            return value.refuse("is not supported: this server does not continue a message");
    } else if (key == "tool_calls" && (!value.is_array() || *value.length() > 0)) {
        return value.refuse("is not supported: this server has no tool calls");
    }
    return {};
}

Result<> add_message(const json::Value& value, std::vector<chat::Message>& messages) {
    MessageDraft draft;
    HF_TRY(value.each_field([&](std::string_view key, const json::Value& member) {
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

}  // namespace holdfast::dialect::openai
