// /tokenize and /detokenize, with vLLM's fields.
#include "common/dialect/tokenization.h"
#include "common/http/request_rules.h"
#include "inference/worker/call.h"
#include "inference/worker/worker.h"

namespace holdfast::worker {
namespace {

using base::Result;

Result<> check_model(const std::string& asked, const std::string& own) {
    if (asked.empty() || asked == own) return {};
    return std::unexpected(base::Error{base::Code::not_found, "The model does not exist.",
                                       base::Origin::client, base::Retry::no, "model",
                                       "model_not_found"});
}

text::PromptEnd end_of(const dialect::TokenizeRequest& request) {
    if (request.continue_final_message) return text::PromptEnd::open_message;
    return request.add_generation_prompt ? text::PromptEnd::answer : text::PromptEnd::message;
}

Result<std::string> tokenize_body(std::string_view body, const std::string& model,
                                  const Serving& serving) {
    HF_TRY_ASSIGN(dialect::TokenizeRequest request, dialect::parse_tokenize(body));
    HF_TRY(check_model(request.model, model));
    if (const auto* messages = std::get_if<std::vector<chat::Message>>(&request.text)) {
        HF_TRY_ASSIGN(auto rendered, serving.render(*messages, end_of(request)));
        request.text = std::move(rendered);
    }
    const text::Tokenizer& tokenizer = serving.engine->tokenizer();
    dialect::TokenizeAnswer answer{
        .tokens = tokenizer.encode(std::get<std::string>(request.text)),
        .context = serving.engine->model().shape().context,
        .token_texts = {},
    };
    std::vector<chat::TokenId>& ids = answer.tokens;
    if (request.add_special_tokens) tokenizer.begin(ids);
    if (request.return_token_strs) {
        answer.token_texts.emplace();
        for (const chat::TokenId id : ids) answer.token_texts->push_back(tokenizer.spelling(id));
    }
    return dialect::render_tokenized(answer);
}

Result<std::string> detokenize_body(std::string_view body, const std::string& model,
                                    const Serving& serving) {
    HF_TRY_ASSIGN(const dialect::DetokenizeRequest request, dialect::parse_detokenize(body));
    HF_TRY(check_model(request.model, model));
    const text::Tokenizer& tokenizer = serving.engine->tokenizer();
    std::string bytes;
    for (const chat::TokenId id : request.tokens) {
        if (!tokenizer.exists(id))
            return base::fail_field("tokens", "Token {} does not exist.", id);
        bytes += tokenizer.bytes(id);
    }
    return dialect::render_detokenized(bytes);
}

}  // namespace

loop::Task<void> Worker::convert(Call& call, Conversion conversion) {
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

loop::Task<void> Worker::tokenize(Call& call) { return convert(call, tokenize_body); }
loop::Task<void> Worker::detokenize(Call& call) { return convert(call, detokenize_body); }

}  // namespace holdfast::worker
