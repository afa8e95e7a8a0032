// The request fields that OpenAI's chat and text completions share, and this server's extensions.
// What becomes of every field that some server knows stands in docs/api.md; fields_test compares.
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
    bool has_stream_options = false;
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

// Reads the members of `root` that stand in `fields` or the shared ones, and ignores all others. A
// field that is null counts as absent; one that comes twice is refused.
base::Result<> read_fields(const json::Value& root, std::span<const Field> fields, Draft& draft);

// How tokens are drawn and when an answer ends.
std::span<const Field> sampling_fields();

// What this server does not do and must not pretend to do: each is refused by its name, unless its
// value asks for nothing.
std::span<const Field> unsupported_fields();

// What has to hold between fields.
base::Result<> check_shared(Draft& draft);

template <class Number>
base::Result<> read_number(const json::Value& value, double min, double max, Number& target) {
    HF_TRY_ASSIGN(const double number, value.number(min, max));
    target = static_cast<Number>(number);
    return {};
}

template <class Integer>
base::Result<> read_integer(const json::Value& value, std::int64_t min, std::int64_t max,
                            Integer& target) {
    HF_TRY_ASSIGN(const std::int64_t number, value.integer(min, max));
    target = static_cast<Integer>(number);
    return {};
}

inline base::Result<> read_flag(const json::Value& value, bool& target) {
    HF_TRY_ASSIGN(target, value.boolean());
    return {};
}

// A list of token ids of any length.
base::Result<std::vector<chat::TokenId>> read_ids(const json::Value& value);

// Readers for fields of which only one value is taken, the one that changes nothing: an empty list,
// object or string; a truth value; a number.
base::Result<> refuse_unless_empty(const json::Value& value, Draft& draft);
template <bool neutral>
base::Result<> refuse_unless(const json::Value& value, Draft&) {
    HF_TRY_ASSIGN(const bool wanted, value.boolean());
    if (wanted != neutral) return value.refuse("is not supported by this server");
    return {};
}
template <int neutral>
base::Result<> refuse_unless_number(const json::Value& value, Draft&) {
    HF_TRY_ASSIGN(const double number, value.number(-1e300, 1e300));
    if (number != neutral) {
        return value.refuse(fmt::format("other than {} is not supported by this server", neutral));
    }
    return {};
}

}  // namespace holdfast::dialect::openai
