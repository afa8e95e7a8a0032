#include "common/upstream/tokenization.h"

#include "common/json/reader.h"
#include "common/json/writer.h"
#include "common/upstream/limits.h"

namespace holdfast::upstream {
namespace {

using base::Result;
using dialect::DetokenizeRequest;
using dialect::TokenizeAnswer;
using dialect::TokenizeRequest;

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

std::unexpected<base::Error> strange(std::string_view what) {
    return std::unexpected(base::Error{base::Code::corrupt,
                                       fmt::format("The instance's answer is no {}.", what),
                                       base::Origin::instance, base::Retry::elsewhere});
}

Result<> check_room(const json::Value& value, const TokenizeAnswer& answer) {
    if (answer.tokens.size() < tokens_listed_max) return {};
    return value.refuse("is one too many");
}

// llama-server's elements are objects where pieces were asked for: the id, and the piece as text
// or, if it is no text, as a list of bytes.
Result<> read_piece(const json::Value& value, TokenizeAnswer& answer) {
    if (!answer.token_texts) answer.token_texts.emplace();
    return value.each_member([&](std::string_view key, const json::Value& member) -> Result<> {
        if (key == "id") {
            HF_TRY_ASSIGN(const auto id, member.integer(0, chat::token_ids_max - 1));
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
        HF_TRY_ASSIGN(const auto context, value.integer(0, context_max));
        answer.context = static_cast<std::uint32_t>(context);
    } else if (key == "tokens") {
        has_tokens = true;
        return value.each_element([&](const json::Value& element) -> Result<> {
            HF_TRY(check_room(element, answer));
            if (element.is_object()) return read_piece(element, answer);
            HF_TRY_ASSIGN(const auto id, element.integer(0, chat::token_ids_max - 1));
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

Result<Call> encode(const TokenizeRequest& request, const Kind& kind, std::string_view model) {
    if (kind.tokenize == nullptr) return not_offered(kind, dialect::tokenize_path);
    return kind.tokenize(request, model);
}

Result<Call> encode(const DetokenizeRequest& request, const Kind& kind, std::string_view model) {
    if (kind.detokenize == nullptr) return not_offered(kind, dialect::detokenize_path);
    return kind.detokenize(request, model);
}

Result<Call> tokenize_as_vllm(const TokenizeRequest& request, std::string_view model) {
    Call call{std::string(dialect::tokenize_path), {}};
    json::Writer json(call.body);
    json.begin_object();
    json.string("model", model);
    if (const auto* messages = std::get_if<std::vector<chat::Message>>(&request.text)) {
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

Result<Call> detokenize_as_vllm(const DetokenizeRequest& request, std::string_view model) {
    Call call{std::string(dialect::detokenize_path), {}};
    json::Writer json(call.body);
    json.begin_object();
    json.string("model", model);
    write_ids(json, request.tokens);
    json.end_object();
    return call;
}

Result<Call> detokenize_without_model(const DetokenizeRequest& request) {
    Call call{std::string(dialect::detokenize_path), {}};
    json::Writer json(call.body);
    json.begin_object();
    write_ids(json, request.tokens);
    json.end_object();
    return call;
}

std::unexpected<base::Error> not_offered(const Kind& kind, std::string_view what) {
    return std::unexpected(base::Error{
        base::Code::invalid, fmt::format("An instance of kind {} offers no {}.", kind.name, what),
        base::Origin::instance, base::Retry::elsewhere, "", "not_implemented"});
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

}  // namespace holdfast::upstream
