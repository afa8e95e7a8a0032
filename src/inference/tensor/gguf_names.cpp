#include "inference/tensor/gguf_names.h"

#include <fmt/format.h>

#include <algorithm>

namespace holdfast::tensor {
namespace {

struct Pair {
    std::string_view gguf, hugging_face;
};

constexpr Pair whole_names[] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
    {"rope_freqs.weight", "rope_freqs.weight"},
};

// After "blk.N." and "model.layers.N.".
constexpr Pair layer_names[] = {
    {"attn_norm.weight", "input_layernorm.weight"},
    {"attn_q.weight", "self_attn.q_proj.weight"},
    {"attn_q.bias", "self_attn.q_proj.bias"},
    {"attn_k.weight", "self_attn.k_proj.weight"},
    {"attn_k.bias", "self_attn.k_proj.bias"},
    {"attn_v.weight", "self_attn.v_proj.weight"},
    {"attn_v.bias", "self_attn.v_proj.bias"},
    {"attn_output.weight", "self_attn.o_proj.weight"},
    {"ffn_norm.weight", "post_attention_layernorm.weight"},
    {"ffn_gate.weight", "mlp.gate_proj.weight"},
    {"ffn_up.weight", "mlp.up_proj.weight"},
    {"ffn_down.weight", "mlp.down_proj.weight"},
};

constexpr std::string_view gguf_layer = "blk.", hugging_face_layer = "model.layers.";

std::optional<std::string> translate(std::string_view name, std::string_view Pair::* from,
                                     std::string_view Pair::* to, std::string_view from_layer,
                                     std::string_view to_layer) {
    const auto* const whole = std::ranges::find(whole_names, name, from);
    if (whole != std::end(whole_names)) return std::string(whole->*to);
    if (!name.starts_with(from_layer)) return std::nullopt;
    name.remove_prefix(from_layer.size());
    const std::size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
    // Another spelling of a number would make two names one.
    if (digits == 0 || (digits > 1 && name[0] == '0') || !name.substr(digits).starts_with('.'))
        return std::nullopt;
    const auto* const part = std::ranges::find(layer_names, name.substr(digits + 1), from);
    if (part == std::end(layer_names)) return std::nullopt;
    return fmt::format("{}{}.{}", to_layer, name.substr(0, digits), part->*to);
}

}  // namespace

std::optional<std::string> hugging_face_name(std::string_view gguf_name) {
    return translate(gguf_name, &Pair::gguf, &Pair::hugging_face, gguf_layer, hugging_face_layer);
}

std::optional<std::string> gguf_name(std::string_view hugging_face_name) {
    return translate(hugging_face_name, &Pair::hugging_face, &Pair::gguf, hugging_face_layer,
                     gguf_layer);
}

}  // namespace holdfast::tensor
