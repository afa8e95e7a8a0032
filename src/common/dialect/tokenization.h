// /tokenize and /detokenize: vLLM's fields towards clients, each kind's own towards instances.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/error.h"
#include "common/chat/request.h"
#include "common/dialect/upstream.h"

namespace holdfast::dialect {

inline constexpr std::string_view tokenize_path = "/tokenize";
inline constexpr std::string_view detokenize_path = "/detokenize";

struct TokenizeRequest {
    std::string model;                                           // empty: whatever there is
    std::variant<std::string, std::vector<chat::Message>> text;  // a prompt or a conversation
    bool add_special_tokens = true;       // BOS; by default not for a conversation, which has it
    bool add_generation_prompt = true;    // of a conversation
    bool continue_final_message = false;  // of a conversation: its last message stays open
    bool return_token_strs = false;
};

struct TokenizeAnswer {
    std::vector<chat::TokenId> tokens;
    std::uint32_t context = 0;                            // "max_model_len"; 0 if unknown
    std::optional<std::vector<std::string>> token_texts;  // if they were asked for
};

struct DetokenizeRequest {
    std::string model;
    std::vector<chat::TokenId> tokens;
};

// Errors name the field. Neither the caller's templates nor tools are rendered: they are refused.
base::Result<TokenizeRequest> parse_tokenize(std::string_view body);
base::Result<DetokenizeRequest> parse_detokenize(std::string_view body);
std::string render_tokenized(const TokenizeAnswer& answer);
std::string render_detokenized(std::string_view text);

// What an instance of this kind is asked. not_implemented (tag, Origin::instance) where it has no
// such endpoint: InstanceKind::openai has none, llama-server none for conversations.
base::Result<UpstreamCall> encode_upstream(const TokenizeRequest& request, InstanceKind kind,
                                           std::string_view upstream_model);
base::Result<UpstreamCall> encode_upstream(const DetokenizeRequest& request, InstanceKind kind,
                                           std::string_view upstream_model);
// What it answers. Code::corrupt (Origin::instance) for anything else.
base::Result<TokenizeAnswer> read_tokenized(std::string_view body);
base::Result<std::string> read_detokenized(std::string_view body);

}  // namespace holdfast::dialect
