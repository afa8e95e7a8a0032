#include "common/upstream/kind.h"
#include "common/upstream/raw_forms.h"
#include "common/upstream/tokenization.h"

namespace holdfast::upstream {
namespace {

base::Result<Call> tokenize(const dialect::TokenizeRequest& request, std::string_view) {
    const auto* const text = std::get_if<std::string>(&request.text);
    if (text == nullptr) return not_offered(llama_server_kind, "/tokenize for messages");
    Call call{std::string(dialect::tokenize_path), {}};
    json::Writer json(call.body);
    json.begin_object();
    json.string("content", *text);
    json.boolean("add_special", request.add_special_tokens);
    json.boolean("with_pieces", request.return_token_strs);
    json.end_object();
    return call;
}

base::Result<Call> detokenize(const dialect::DetokenizeRequest& request, std::string_view) {
    return detokenize_without_model(request);
}

}  // namespace

constinit const Kind llama_server_kind{
    .name = "llama-server",
    .summary = "llama.cpp's server",
    .offer = {.continues_text = true},
    .probe = {.path = "/health"},
    .words = {.repetition_penalty = "repeat_penalty",
              .seed_max = 0x7FFF'FFFF,
              .logit_bias_is_list = true,
              .has_own_defaults = true},
    .raw = &raw_llama_server,
    .tokenize = tokenize,
    .detokenize = detokenize,
};

}  // namespace holdfast::upstream
