#include "common/upstream/kind.h"
#include "common/upstream/tokenization.h"

namespace holdfast::upstream {
namespace {

// The server appends it to the generation prompt, which has opened <think> already.
std::string beginning(const Delivered& delivered) {
    if (delivered.content.empty()) return delivered.reasoning;
    return delivered.reasoning + "\n</think>\n\n" + delivered.content;
}

// It refuses to continue an answer unless it is told that thinking is off.
void write_open_message(json::Writer& json) {
    json.key("chat_template_kwargs");
    json.begin_object();
    json.boolean("enable_thinking", false);
    json.end_object();
}

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
    .offer = {.continues_messages = true, .continues_text = true},
    .probe = {.path = "/health"},
    .words = {.repetition_penalty = "repeat_penalty",
              .seed_max = 0x7FFF'FFFF,
              .logit_bias_is_list = true,
              .has_own_defaults = true},
    .beginning = beginning,
    .write_open_message = write_open_message,
    .tokenize = tokenize,
    .detokenize = detokenize,
};

}  // namespace holdfast::upstream
