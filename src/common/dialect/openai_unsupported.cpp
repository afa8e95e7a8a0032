#include "common/dialect/openai_fields.h"

namespace holdfast::dialect::openai {
namespace {

using base::Result;

// What OpenRouter's clients say about thinking. How much there is of it is R1's own affair.
Result<> read_reasoning(const json::Value& value, Draft&) {
    if (!value.is_object()) return {};
    return value.each_field([](std::string_view key, const json::Value& member) -> Result<> {
        if (member.is_null()) return {};
        if (key == "max_tokens") return member.refuse("is not supported by this server");
        if (key != "exclude") return {};
        HF_TRY_ASSIGN(const bool excluded, member.boolean());
        if (excluded) return member.refuse("is not supported by this server");
        return {};
    });
}

// ["text"] is all that a model of words can say.
Result<> read_modalities(const json::Value& value, Draft&) {
    return value.each_element([](const json::Value& modality) -> Result<> {
        HF_TRY_ASSIGN(const std::string_view word, modality.string());
        if (word != "text") return modality.refuse("must be \"text\"");
        return {};
    });
}

constexpr Field fields[] = {
    // OpenAI's.
    {"audio", refuse_unless_empty},
    {"functions", refuse_unless_empty},
    {"modalities", read_modalities},
    {"web_search_options", refuse_unless_empty},
    // vLLM's.
    {"add_generation_prompt", refuse_unless<true>},
    {"allowed_token_ids", refuse_unless_empty},
    {"bad_words", refuse_unless_empty},
    {"chat_template", refuse_unless_empty},
    {"continue_final_message", refuse_unless<false>},
    {"documents", refuse_unless_empty},
    {"guided_choice", refuse_unless_empty},
    {"guided_grammar", refuse_unless_empty},
    {"guided_json", refuse_unless_empty},
    {"guided_regex", refuse_unless_empty},
    {"include_reasoning", refuse_unless<true>},
    {"include_stop_str_in_output", refuse_unless<false>},
    {"logits_processors", refuse_unless_empty},
    {"prompt_embeds", refuse_unless_empty},
    {"prompt_logprobs", refuse_unless_number<0>},
    {"return_token_ids", refuse_unless<false>},
    {"return_tokens_as_token_ids", refuse_unless<false>},
    {"skip_special_tokens", refuse_unless<true>},
    {"structured_outputs", refuse_unless_empty},
    {"truncate_prompt_tokens", refuse_unless_number<-1>},
    {"use_beam_search", refuse_unless<false>},
    {"vllm_xargs", refuse_unless_empty},
    // SGLang's.
    {"custom_logit_processor", refuse_unless_empty},
    {"ebnf", refuse_unless_empty},
    {"lora_path", refuse_unless_empty},
    {"no_stop_trim", refuse_unless<false>},
    {"regex", refuse_unless_empty},
    {"return_hidden_states", refuse_unless<false>},
    {"separate_reasoning", refuse_unless<true>},
    // llama-server's.
    {"dry_multiplier", refuse_unless_number<0>},
    {"dynatemp_range", refuse_unless_number<0>},
    {"grammar", refuse_unless_empty},
    {"json_schema", refuse_unless_empty},
    {"lora", refuse_unless_empty},
    {"mirostat", refuse_unless_number<0>},
    {"n_predict", refuse_unless_number<-1>},
    {"n_probs", refuse_unless_number<0>},
    {"post_sampling_probs", refuse_unless<false>},
    {"repeat_penalty", refuse_unless_number<1>},
    {"response_fields", refuse_unless_empty},
    {"return_tokens", refuse_unless<false>},
    {"samplers", refuse_unless_empty},
    {"t_max_predict_ms", refuse_unless_number<0>},
    {"typical_p", refuse_unless_number<1>},
    {"xtc_probability", refuse_unless_number<0>},
    // Of others: Ollama, OpenRouter, Mistral.
    {"format", refuse_unless_empty},
    {"random_seed", refuse_unless_empty},
    {"reasoning", read_reasoning},
    {"safe_prompt", refuse_unless<false>},
    {"top_a", refuse_unless_number<0>},
};

}  // namespace

std::span<const Field> unsupported_fields() { return fields; }

Result<> refuse_unless_empty(const json::Value& value, Draft&) {
    if (value.is_string() && value.string()->empty()) return {};
    if (value.is_array() && *value.length() == 0) return {};
    if (value.is_object()) {
        bool is_empty = true;
        HF_TRY(value.each_member([&](std::string_view, const json::Value&) -> Result<> {
            is_empty = false;
            return {};
        }));
        if (is_empty) return {};
    }
    return value.refuse("is not supported by this server");
}

}  // namespace holdfast::dialect::openai
