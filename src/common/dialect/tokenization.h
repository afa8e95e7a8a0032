// /tokenize and /detokenize as clients know them: vLLM's fields.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/error.h"
#include "common/chat/request.h"

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

}  // namespace holdfast::dialect
