#include "common/upstream/kind.h"
#include "common/upstream/tokenization.h"

namespace holdfast::upstream {
namespace {

// The message is rendered through the model's template, which drops everything up to </think>; the
// server then refuses to continue a message that it cannot find. So thinking that has ended stays
// away.
std::string beginning(const Delivered& delivered) {
    if (!delivered.content.empty()) return delivered.content;
    return "<think>\n" + delivered.reasoning;
}

void write_open_message(json::Writer& json) {
    json.boolean("continue_final_message", true);
    json.boolean("add_generation_prompt", false);
}

}  // namespace

constinit const Kind vllm_kind{
    .name = "vllm",
    .summary = "vLLM's server, and others that take its fields (SGLang)",
    .offer = {.continues_messages = true, .continues_text = true},
    .probe = {.path = "/health"},
    .beginning = beginning,
    .write_open_message = write_open_message,
    .tokenize = tokenize_as_vllm,
    .detokenize = detokenize_as_vllm,
};

}  // namespace holdfast::upstream
