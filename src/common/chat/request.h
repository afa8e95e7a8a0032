// What a client asks for, free of any API's form. Dialects produce it, the engine and the codecs of
// upstream consume it. Plain values; every field is validated by the dialect before it gets here,
// so the engine asserts rather than checks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace holdfast::chat {

using TokenId = std::int32_t;
// Ids that an instance reports lie below this: every vocabulary does, and the gateway's journal
// keeps an id in 24 bits.
inline constexpr TokenId token_ids_max = 1 << 24;
// Of one request.
inline constexpr std::uint32_t choices_max = 16;

enum class Role { system, user, assistant, tool };

// The model's wish to have a tool called.
struct ToolCall {
    std::string id, name;
    std::string arguments;  // JSON, as the model wrote it
};

struct Message {
    Role role = Role::user;
    std::string content;
    std::string reasoning;  // assistant only: thinking of an earlier turn, dropped by R1's template
    std::vector<ToolCall> tool_calls = {};  // assistant only
    std::string tool_call_id = {};          // tool only: the call that `content` answers
};

// Chat messages, raw text (completions), or token ids (completions).
using Prompt = std::variant<std::vector<Message>, std::string, std::vector<TokenId>>;

struct Tool {
    std::string name, description;
    std::string parameters;  // a JSON schema
};

// A form that the answer must have.
struct Constraint {
    enum class Kind { json, json_schema, regex, choice, grammar } kind = Kind::json;
    std::string text;  // the schema, expression, list or grammar
};

struct Sampling {
    float temperature = 1.0F;         // [0, 2]; 0 is greedy
    float top_p = 1.0F;               // (0, 1]
    std::int32_t top_k = 0;           // 0 is off
    float min_p = 0.0F;               // [0, 1], relative to the likeliest token
    float repetition_penalty = 1.0F;  // > 0, divides or multiplies logits of prompt and output ids
    float presence_penalty = 0.0F;    // [-2, 2], output ids only
    float frequency_penalty = 0.0F;   // [-2, 2], output ids only
    std::optional<std::uint64_t> seed;  // the gateway, or else the worker, draws one when absent
    std::vector<std::pair<TokenId, float>> logit_bias;  // [-100, 100]
};

struct Stopping {
    std::optional<std::uint32_t> max_tokens;  // absent: until the context is full
    std::uint32_t min_tokens = 0;             // end-of-sequence and stop ids are masked before
    std::vector<std::string> stop;            // matched on the answer's text, as the client sees it
    bool stop_in_reasoning = false;           // and on the thinking's
    std::vector<TokenId> stop_token_ids;
    bool ignore_eos = false;
};

// What a resumed attempt already delivered: token ids per choice, in order (docs/protocol.md).
struct Resume {
    std::vector<std::vector<TokenId>> ids;
};

// What is to be generated: all that an engine needs to know.
struct Generation {
    Prompt prompt;
    Sampling sampling;
    Stopping stopping;
    std::uint32_t choices = 1;              // OpenAI's `n`, up to choices_max
    std::optional<std::uint32_t> logprobs;  // absent: none; else number of alternatives, 0..20
    bool echo = false;                      // completions: the prompt's text comes first
    std::vector<Tool> tools;                // none yet: dialects refuse them
    std::vector<Constraint> constraints;    // none yet: dialects refuse them
    std::optional<Resume> resume;           // extension: go on after these
};

// How thinking is shown to the client.
enum class ReasoningForm { reasoning_content, reasoning, both, inline_tags };

// How the answer is shown: it changes no token.
struct Presentation {
    bool stream = false;
    bool include_usage = false;  // at the end of a stream
    ReasoningForm reasoning = ReasoningForm::reasoning_content;
    bool want_ids = false;  // extension: events carry token ids
};

struct Request {
    std::string model;
    Generation generation;
    Presentation presentation;
    std::string user;
};

}  // namespace holdfast::chat
