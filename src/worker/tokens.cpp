// /tokenize and /detokenize, with vLLM's fields.
#include "dialect/json_reader.h"
#include "dialect/json_writer.h"
#include "dialect/openai_chat.h"
#include "http/request_rules.h"
#include "worker/call.h"
#include "worker/worker.h"

namespace holdfast::worker {
namespace {

using base::Result;
using dialect::JsonDocument;
using dialect::JsonValue;
using dialect::JsonWriter;

constexpr std::int64_t token_id_max = 2'147'483'647;

struct TokenizeRequest {
    std::string model;
    std::optional<std::string> prompt;
    std::optional<std::vector<chat::Message>> messages;
    std::vector<chat::TokenId> tokens;
    bool has_tokens = false;
    bool add_special_tokens = true;
    bool return_token_strs = false;
};

Result<> read_field(std::string_view key, const JsonValue& value, TokenizeRequest& out) {
    if (value.is_null()) return {};
    if (key == "model") {
        HF_TRY_ASSIGN(out.model, value.string());
    } else if (key == "prompt") {
        HF_TRY_ASSIGN(out.prompt, value.string());
    } else if (key == "messages") {
        HF_TRY_ASSIGN(out.messages, dialect::openai::read_messages(value));
    } else if (key == "add_special_tokens") {
        HF_TRY_ASSIGN(out.add_special_tokens, value.boolean());
    } else if (key == "return_token_strs") {
        HF_TRY_ASSIGN(out.return_token_strs, value.boolean());
    } else if (key == "tokens") {
        out.has_tokens = true;
        out.tokens.clear();
        return value.each_element([&](const JsonValue& element) -> Result<> {
            HF_TRY_ASSIGN(const std::int64_t id, element.integer(0, token_id_max));
            out.tokens.push_back(static_cast<chat::TokenId>(id));
            return {};
        });
    }
    return {};
}

Result<TokenizeRequest> read_request(std::string_view body, const std::string& model) {
    HF_TRY_ASSIGN(const JsonDocument document, JsonDocument::parse(body));
    TokenizeRequest request;
    HF_TRY(document.root().each_member([&](std::string_view key, const JsonValue& value) {
        return read_field(key, value, request);
    }));
    if (!request.model.empty() && request.model != model) {
        return std::unexpected(base::Error{base::Code::not_found, "The model does not exist.",
                                           base::Origin::client, base::Retry::no, "model",
                                           "model_not_found"});
    }
    return request;
}

void write_tokens(const engine::Engine& engine, const std::vector<chat::TokenId>& ids,
                  bool with_text, std::string& body) {
    JsonWriter json(body);
    json.begin_object();
    json.number("count", ids.size());
    json.number("max_model_len", engine.model().shape().context);
    json.key("tokens");
    json.begin_array();
    for (const chat::TokenId id : ids) json.number(id);
    json.end_array();
    if (with_text) {
        json.key("token_strs");
        json.begin_array();
        for (const chat::TokenId id : ids) json.string(engine.tokenizer().bytes(id));
        json.end_array();
    }
    json.end_object();
}

// The beginning-of-sequence token that a rendered conversation starts with.
constexpr std::string_view bos_name = "<｜begin▁of▁sentence｜>";

Result<std::string> tokenize_body(std::string_view body, const std::string& model,
                                  const Serving& serving) {
    HF_TRY_ASSIGN(const TokenizeRequest request, read_request(body, model));
    if (request.prompt.has_value() == request.messages.has_value()) {
        return base::fail_field("prompt", "Either prompt or messages must be given.");
    }
    const text::Tokenizer& tokenizer = serving.engine->tokenizer();
    std::vector<chat::TokenId> ids =
        tokenizer.encode(request.prompt ? *request.prompt : serving.render(*request.messages));
    const auto bos = tokenizer.find(bos_name);
    if (request.prompt && request.add_special_tokens && bos && (ids.empty() || ids[0] != *bos)) {
        ids.insert(ids.begin(), *bos);
    }
    std::string out;
    write_tokens(*serving.engine, ids, request.return_token_strs, out);
    return out;
}

Result<std::string> detokenize_body(std::string_view body, const std::string& model,
                                    const Serving& serving) {
    HF_TRY_ASSIGN(const TokenizeRequest request, read_request(body, model));
    if (!request.has_tokens) return base::fail_field("tokens", "tokens must be given.");
    const text::Tokenizer& tokenizer = serving.engine->tokenizer();
    std::string bytes;
    for (const chat::TokenId id : request.tokens) {
        if (!tokenizer.exists(id)) {
            return base::fail_field("tokens", "Token {} does not exist.", id);
        }
        bytes += tokenizer.bytes(id);
    }
    std::string out;
    JsonWriter json(out);
    json.begin_object();
    json.string("prompt", bytes);
    json.end_object();
    return out;
}

}  // namespace

http::Task<void> Worker::convert(Call& call, Conversion conversion) {
    auto checked = check_ready();
    if (checked) checked = http::check_json_body(call.request.headers);
    Result<std::string> body = std::string();
    if (checked) {
        std::function<void()> work = [this, &call, &body, conversion, serving = serving_] {
            body = conversion(call.request.body, settings_.model, serving);
        };
        checked = co_await off_loop(std::make_shared<Bell>(executor_), std::move(work));
    }
    if (checked && body) {
        co_await send_json(call, 200, *std::move(body));
    } else {
        co_await send_error(call, checked ? body.error() : checked.error());
    }
}

http::Task<void> Worker::tokenize(Call& call) { return convert(call, tokenize_body); }
http::Task<void> Worker::detokenize(Call& call) { return convert(call, detokenize_body); }

}  // namespace holdfast::worker
