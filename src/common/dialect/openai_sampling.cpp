#include <algorithm>
#include <charconv>
#include <limits>

#include "common/dialect/limits.h"
#include "common/dialect/openai_fields.h"

namespace holdfast::dialect::openai {
namespace {

using base::Result;
using chat::TokenId;

Result<> read_temperature(const json::Value& value, Draft& draft) {
    return read_number(value, 0, 2, draft.request.generation.sampling.temperature);
}
Result<> read_top_p(const json::Value& value, Draft& draft) {
    float& top_p = draft.request.generation.sampling.top_p;
    HF_TRY(read_number(value, 0, 1, top_p));
    // OpenAI's range begins with 0: the likeliest token alone.
    top_p = std::max(top_p, std::numeric_limits<float>::min());
    return {};
}
Result<> read_top_k(const json::Value& value, Draft& draft) {
    std::int32_t& top_k = draft.request.generation.sampling.top_k;
    HF_TRY(read_integer(value, -1, top_k_max, top_k));
    top_k = std::max(top_k, 0);  // several servers write "off" as -1
    return {};
}
Result<> read_min_p(const json::Value& value, Draft& draft) {
    return read_number(value, 0, 1, draft.request.generation.sampling.min_p);
}
Result<> read_repetition_penalty(const json::Value& value, Draft& draft) {
    float& penalty = draft.request.generation.sampling.repetition_penalty;
    HF_TRY(read_number(value, 0, repetition_penalty_max, penalty));
    if (penalty < static_cast<float>(repetition_penalty_min))
        return value.refuse(fmt::format("must be at least {}", repetition_penalty_min));
    return {};
}
Result<> read_presence_penalty(const json::Value& value, Draft& draft) {
    return read_number(value, -2, 2, draft.request.generation.sampling.presence_penalty);
}
Result<> read_frequency_penalty(const json::Value& value, Draft& draft) {
    return read_number(value, -2, 2, draft.request.generation.sampling.frequency_penalty);
}
Result<> read_seed(const json::Value& value, Draft& draft) {
    HF_TRY_ASSIGN(const std::uint64_t seed, value.bits());
    // "Choose one" at llama.cpp and vLLM, whose clients cannot leave the field out.
    constexpr std::uint64_t any_seed = ~std::uint64_t{0};
    if (seed == any_seed && value.integer(-1, -1)) return {};
    draft.request.generation.sampling.seed = seed;
    return {};
}

Result<> read_logit_bias(const json::Value& value, Draft& draft) {
    auto& biases = draft.request.generation.sampling.logit_bias;
    biases.clear();
    HF_TRY(value.each_member([&](std::string_view key, const json::Value& member) -> Result<> {
        TokenId id = -1;
        const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
        if (error != std::errc() || end != key.data() + key.size() || id < 0) {
            return member.refuse("is not a token id; the keys of logit_bias are token ids");
        }
        if (biases.size() == logit_bias_max) {
            return value.refuse(fmt::format("must not have more than {} entries", logit_bias_max));
        }
        biases.emplace_back(id, 0.0F);
        return read_number(member, -100, 100, biases.back().second);
    }));
    std::ranges::sort(biases, {}, &std::pair<TokenId, float>::first);
    const auto twice = std::ranges::adjacent_find(biases, {}, &std::pair<TokenId, float>::first);
    if (twice != biases.end()) {
        return value.refuse(fmt::format("must not name token {} twice", twice->first));
    }
    return {};
}

// -1 is llama-server's and Ollama's word for "no limit".
Result<> read_tokens_max(const json::Value& value, std::optional<std::uint32_t>& target) {
    const auto tokens = value.integer(1, tokens_max);
    if (tokens) target = static_cast<std::uint32_t>(*tokens);
    if (tokens || value.integer(-1, -1)) return {};
    return std::unexpected(tokens.error());
}
Result<> read_max_tokens(const json::Value& value, Draft& draft) {
    return read_tokens_max(value, draft.request.generation.stopping.max_tokens);
}
Result<> read_max_completion_tokens(const json::Value& value, Draft& draft) {
    return read_tokens_max(value, draft.max_completion_tokens);
}
Result<> read_min_tokens(const json::Value& value, Draft& draft) {
    return read_integer(value, 0, tokens_max, draft.request.generation.stopping.min_tokens);
}

Result<> add_stop(const json::Value& value, std::vector<std::string>& stops) {
    HF_TRY_ASSIGN(const std::string_view text, value.string());
    if (text.empty()) return value.refuse("must not be an empty string");
    if (text.size() > stop_bytes_max) {
        return value.refuse(fmt::format("must not be longer than {} bytes", stop_bytes_max));
    }
    stops.emplace_back(text);
    return {};
}

Result<> read_stop(const json::Value& value, Draft& draft) {
    auto& stops = draft.request.generation.stopping.stop;
    stops.clear();
    if (value.is_string()) return add_stop(value, stops);
    if (!value.is_array()) return value.wrong_type("a string or a list of strings");
    HF_TRY_ASSIGN(const std::size_t length, value.length());
    if (length > stops_max) {
        return value.refuse(fmt::format("must not have more than {} entries", stops_max));
    }
    return value.each_element([&](const json::Value& stop) { return add_stop(stop, stops); });
}

Result<> read_stop_token_ids(const json::Value& value, Draft& draft) {
    HF_TRY_ASSIGN(draft.request.generation.stopping.stop_token_ids, read_ids(value));
    if (draft.request.generation.stopping.stop_token_ids.size() > stop_token_ids_max) {
        return value.refuse(fmt::format("must not have more than {} entries", stop_token_ids_max));
    }
    return {};
}
Result<> read_ignore_eos(const json::Value& value, Draft& draft) {
    return read_flag(value, draft.request.generation.stopping.ignore_eos);
}
Result<> read_stop_in_reasoning(const json::Value& value, Draft& draft) {
    return read_flag(value, draft.request.generation.stopping.stop_in_reasoning);
}

constexpr Field fields[] = {
    {"temperature", read_temperature},
    {"top_p", read_top_p},
    {"top_k", read_top_k},
    {"min_p", read_min_p},
    {"repetition_penalty", read_repetition_penalty},
    {"presence_penalty", read_presence_penalty},
    {"frequency_penalty", read_frequency_penalty},
    {"seed", read_seed},
    {"logit_bias", read_logit_bias},
    {"max_tokens", read_max_tokens},
    {"max_completion_tokens", read_max_completion_tokens},
    {"min_tokens", read_min_tokens},
    {"stop", read_stop},
    {"stop_token_ids", read_stop_token_ids},
    {"ignore_eos", read_ignore_eos},
    {"stop_in_reasoning", read_stop_in_reasoning},
};

}  // namespace

std::span<const Field> sampling_fields() { return fields; }

}  // namespace holdfast::dialect::openai
