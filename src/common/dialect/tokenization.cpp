#include "common/dialect/tokenization.h"

#include "common/dialect/limits.h"
#include "common/dialect/openai_fields.h"
#include "common/dialect/openai_messages.h"
#include "common/json/reader.h"
#include "common/json/writer.h"

namespace holdfast::dialect {
namespace {

using base::Result;

// A request while it is read.
struct Draft {
    TokenizeRequest request;
    std::optional<std::string> prompt;
    std::optional<std::vector<chat::Message>> messages;
    std::optional<bool> add_special_tokens;
};

Result<std::string> read_model(const json::Value& value) {
    HF_TRY_ASSIGN(const auto model, value.string());
    if (model.size() > name_bytes_max) return value.refuse("is too long");
    return std::string(model);
}

Result<> read_prompt(std::string_view key, const json::Value& value, Draft& draft) {
    if (key == "prompt") {
        HF_TRY_ASSIGN(draft.prompt, value.string());
    } else if (key == "messages") {
        HF_TRY_ASSIGN(draft.messages, openai::read_messages(value));
    } else if (key == "tools") {
        HF_TRY_ASSIGN(const std::size_t length, value.length());
        if (length > 0) return value.refuse("is not supported by this server");
    } else if (key == "chat_template") {
        return value.refuse("is not supported: the model's own template is used");
    }
    return {};
}

Result<> read_tokenize_field(std::string_view key, const json::Value& value, Draft& draft) {
    if (value.is_null()) return {};
    TokenizeRequest& request = draft.request;
    if (key == "model") {
        HF_TRY_ASSIGN(request.model, read_model(value));
    } else if (key == "add_special_tokens") {
        HF_TRY_ASSIGN(draft.add_special_tokens, value.boolean());
    } else if (key == "add_generation_prompt") {
        HF_TRY_ASSIGN(request.add_generation_prompt, value.boolean());
    } else if (key == "continue_final_message") {
        HF_TRY_ASSIGN(request.continue_final_message, value.boolean());
    } else if (key == "return_token_strs") {
        HF_TRY_ASSIGN(request.return_token_strs, value.boolean());
    } else {
        return read_prompt(key, value, draft);
    }
    return {};
}

void write_ids(json::Writer& json, const std::vector<chat::TokenId>& ids) {
    json.key("tokens");
    json.begin_array();
    for (const chat::TokenId id : ids) json.number(id);
    json.end_array();
}

}  // namespace

Result<TokenizeRequest> parse_tokenize(std::string_view body) {
    HF_TRY_ASSIGN(const json::Document document, json::Document::parse(body));
    Draft draft;
    HF_TRY(document.root().each_field([&](std::string_view key, const json::Value& value) {
        return read_tokenize_field(key, value, draft);
    }));
    if (draft.prompt.has_value() == draft.messages.has_value())
        return base::fail_field("prompt", "Either prompt or messages must be given.");
    TokenizeRequest& request = draft.request;
    request.add_special_tokens = draft.add_special_tokens.value_or(draft.prompt.has_value());
    if (draft.prompt) {
        request.text = *std::move(draft.prompt);
        return std::move(request);
    }
    if (request.continue_final_message && request.add_generation_prompt)
        return base::fail_field("continue_final_message",
                                "continue_final_message and add_generation_prompt cannot both be "
                                "true.");
    request.text = *std::move(draft.messages);
    return std::move(request);
}

Result<DetokenizeRequest> parse_detokenize(std::string_view body) {
    HF_TRY_ASSIGN(const json::Document document, json::Document::parse(body));
    DetokenizeRequest request;
    bool has_tokens = false;
    HF_TRY(
        document.root().each_field([&](std::string_view key, const json::Value& value) -> Result<> {
            if (value.is_null()) return {};
            if (key == "model") {
                HF_TRY_ASSIGN(request.model, read_model(value));
            } else if (key == "tokens") {
                has_tokens = true;
                HF_TRY_ASSIGN(request.tokens, openai::read_ids(value));
            }
            return {};
        }));
    if (!has_tokens) return base::fail_field("tokens", "tokens must be given.");
    return request;
}

std::string render_tokenized(const TokenizeAnswer& answer) {
    std::string out;
    json::Writer json(out);
    json.begin_object();
    json.number("count", answer.tokens.size());
    json.number("max_model_len", answer.context);
    write_ids(json, answer.tokens);
    json.key("token_strs");
    if (answer.token_texts) {
        json.begin_array();
        for (const std::string& text : *answer.token_texts) json.string(text);
        json.end_array();
    } else {
        json.null();
    }
    json.end_object();
    return out;
}

std::string render_detokenized(std::string_view text) {
    std::string out;
    json::Writer json(out);
    json.begin_object();
    json.string("prompt", text);
    json.end_object();
    return out;
}

}  // namespace holdfast::dialect
