#include "common/dialect/tokenization.h"

#include "common/dialect/limits.h"
#include "common/dialect/openai_chat.h"
#include "common/dialect/openai_fields.h"
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

void write_messages(json::Writer& json, const std::vector<chat::Message>& messages) {
    constexpr std::string_view roles[] = {"system", "user", "assistant", "tool"};
    json.key("messages");
    json.begin_array();
    for (const chat::Message& message : messages) {
        json.begin_object();
        json.string("role", roles[static_cast<std::size_t>(message.role)]);
        json.string("content", message.content);
        json.end_object();
    }
    json.end_array();
}

void write_ids(json::Writer& json, const std::vector<chat::TokenId>& ids) {
    json.key("tokens");
    json.begin_array();
    for (const chat::TokenId id : ids) json.number(id);
    json.end_array();
}

std::unexpected<base::Error> not_offered(InstanceKind kind, std::string_view what) {
    return std::unexpected(base::Error{
        base::Code::invalid, fmt::format("An instance of kind {} offers no {}.", name(kind), what),
        base::Origin::instance, base::Retry::elsewhere, "", "not_implemented"});
}

std::unexpected<base::Error> strange(std::string_view what) {
    return std::unexpected(base::Error{base::Code::corrupt,
                                       fmt::format("The instance's answer is no {}.", what),
                                       base::Origin::instance, base::Retry::elsewhere});
}

// llama-server's elements are objects where pieces were asked for: the id, and the piece as text
// or, if it is no text, as a list of bytes.
Result<> read_piece(const json::Value& value, TokenizeAnswer& answer) {
    if (!answer.token_texts) answer.token_texts.emplace();
    return value.each_member([&](std::string_view key, const json::Value& member) -> Result<> {
        if (key == "id") {
            HF_TRY_ASSIGN(const auto id, member.integer(0, token_id_max));
            answer.tokens.push_back(static_cast<chat::TokenId>(id));
        } else if (key == "piece" && member.is_array()) {
            std::string& piece = answer.token_texts->emplace_back();
            return member.each_element([&](const json::Value& byte) -> Result<> {
                HF_TRY_ASSIGN(const auto number, byte.integer(0, 255));
                piece += static_cast<char>(number);
                return {};
            });
        } else if (key == "piece") {
            HF_TRY_ASSIGN(const auto piece, member.string());
            answer.token_texts->emplace_back(piece);
        }
        return {};
    });
}

Result<> read_answer_field(std::string_view key, const json::Value& value, TokenizeAnswer& answer,
                           bool& has_tokens) {
    if (value.is_null()) return {};
    if (key == "max_model_len") {
        HF_TRY_ASSIGN(const auto context, value.integer(0, tokens_max));
        answer.context = static_cast<std::uint32_t>(context);
    } else if (key == "tokens") {
        has_tokens = true;
        return value.each_element([&](const json::Value& element) -> Result<> {
            if (element.is_object()) return read_piece(element, answer);
            HF_TRY_ASSIGN(const auto id, element.integer(0, token_id_max));
            answer.tokens.push_back(static_cast<chat::TokenId>(id));
            return {};
        });
    } else if (key == "token_strs") {
        answer.token_texts.emplace();
        return value.each_element([&](const json::Value& element) -> Result<> {
            HF_TRY_ASSIGN(const auto text, element.string());
            answer.token_texts->emplace_back(text);
            return {};
        });
    }
    return {};
}

}  // namespace

Result<TokenizeRequest> parse_tokenize(std::string_view body) {
    HF_TRY_ASSIGN(const json::Document document, json::Document::parse(body));
    Draft draft;
    HF_TRY(document.root().each_member([&](std::string_view key, const json::Value& value) {
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
    HF_TRY(document.root().each_member(
        [&](std::string_view key, const json::Value& value) -> Result<> {
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

Result<UpstreamCall> encode_upstream(const TokenizeRequest& request, InstanceKind kind,
                                     std::string_view upstream_model) {
    const auto* const messages = std::get_if<std::vector<chat::Message>>(&request.text);
    if (kind == InstanceKind::openai) return not_offered(kind, tokenize_path);
    if (kind == InstanceKind::llama_server && messages != nullptr)
        return not_offered(kind, "/tokenize for messages");
    UpstreamCall call{std::string(tokenize_path), {}};
    json::Writer json(call.body);
    json.begin_object();
    if (kind == InstanceKind::llama_server) {
        json.string("content", std::get<std::string>(request.text));
        json.boolean("add_special", request.add_special_tokens);
        json.boolean("with_pieces", request.return_token_strs);
        json.end_object();
        return call;
    }
    json.string("model", upstream_model);
    if (messages != nullptr) {
        write_messages(json, *messages);
        json.boolean("add_generation_prompt", request.add_generation_prompt);
        json.boolean("continue_final_message", request.continue_final_message);
    } else {
        json.string("prompt", std::get<std::string>(request.text));
    }
    json.boolean("add_special_tokens", request.add_special_tokens);
    json.boolean("return_token_strs", request.return_token_strs);
    json.end_object();
    return call;
}

Result<UpstreamCall> encode_upstream(const DetokenizeRequest& request, InstanceKind kind,
                                     std::string_view upstream_model) {
    if (kind == InstanceKind::openai) return not_offered(kind, detokenize_path);
    UpstreamCall call{std::string(detokenize_path), {}};
    json::Writer json(call.body);
    json.begin_object();
    if (kind != InstanceKind::llama_server) json.string("model", upstream_model);
    write_ids(json, request.tokens);
    json.end_object();
    return call;
}

Result<TokenizeAnswer> read_tokenized(std::string_view body) {
    TokenizeAnswer answer;
    bool has_tokens = false;
    const auto document = json::Document::parse(body);
    const bool sound = document && document->root().each_member(
                                       [&](std::string_view key, const json::Value& value) {
                                           return read_answer_field(key, value, answer, has_tokens);
                                       });
    if (!sound || !has_tokens ||
        (answer.token_texts && answer.token_texts->size() != answer.tokens.size()))
        return strange("list of tokens");
    return answer;
}

Result<std::string> read_detokenized(std::string_view body) {
    std::optional<std::string> text;
    const auto document = json::Document::parse(body);
    const bool sound =
        document && document->root().each_member(
                        [&](std::string_view key, const json::Value& value) -> Result<> {
                            if (key != "prompt" && key != "content") return {};
                            HF_TRY_ASSIGN(text, value.string());
                            return {};
                        });
    if (!sound || !text) return strange("text of tokens");
    return *std::move(text);
}

}  // namespace holdfast::dialect
