// The request fields that OpenAI's chat and text completions share, and this server's extensions.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/chat/request.h"
#include "common/json/reader.h"

namespace holdfast::dialect::openai {

// A request while it is read, with what must be weighed once all fields are known.
struct Draft {
    chat::Request request;
    bool has_prompt = false;
    std::optional<std::uint32_t> max_completion_tokens;
    bool wants_logprobs = false;
    std::optional<std::uint32_t> top_logprobs;
    bool has_tools = false;
    bool tools_are_off = false;  // tool_choice "none"
    std::optional<std::int64_t> best_of;
};

struct Field {
    std::string_view name;
    base::Result<> (*read)(const json::Value& value, Draft& draft);
};

std::span<const Field> shared_fields();

// Reads the members of `root` that stand in `fields` or the shared fields, and ignores all
// others. A field that is null counts as absent; of a repeated field the last one counts.
base::Result<> read_fields(const json::Value& root, std::span<const Field> fields, Draft& draft);

// What has to hold between fields.
base::Result<> check_shared(Draft& draft);

// A list of token ids of any length.
base::Result<std::vector<chat::TokenId>> read_ids(const json::Value& value);

// Reader for a field that must be a list or a string without content, because this server has no
// such feature and must not pretend that it has.
base::Result<> refuse_unless_empty(const json::Value& value, Draft& draft);

}  // namespace holdfast::dialect::openai
