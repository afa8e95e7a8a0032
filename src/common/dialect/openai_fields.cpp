#include "common/dialect/openai_fields.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "common/dialect/limits.h"

namespace holdfast::dialect::openai {
namespace {

using base::Result;
using chat::TokenId;

template <class Number>
Result<> read_number(const json::Value& value, double min, double max, Number& target) {
    HF_TRY_ASSIGN(const double number, value.number(min, max));
    target = static_cast<Number>(number);
    return {};
}

template <class Integer>
Result<> read_integer(const json::Value& value, std::int64_t min, std::int64_t max,
                      Integer& target) {
    HF_TRY_ASSIGN(const std::int64_t number, value.integer(min, max));
    target = static_cast<Integer>(number);
    return {};
}

Result<> read_flag(const json::Value& value, bool& target) {
    HF_TRY_ASSIGN(target, value.boolean());
    return {};
}

// Names are looked up, logged and compared: no control characters, bounded.
Result<> read_name(const json::Value& value, std::size_t bytes_max, std::string& target) {
    HF_TRY_ASSIGN(const std::string_view text, value.string());
    if (text.size() > bytes_max) {
        return value.refuse(fmt::format("must not be longer than {} bytes", bytes_max));
    }
    const auto is_control = [](unsigned char byte) { return byte < 0x20 || byte == 0x7F; };
    if (std::ranges::any_of(text, is_control)) {
        return value.refuse("must not contain control characters");
    }
    target = text;
    return {};
}

Result<> read_temperature(const json::Value& value, Draft& draft) {
    return read_number(value, 0, 2, draft.request.sampling.temperature);
}
Result<> read_top_p(const json::Value& value, Draft& draft) {
    float& top_p = draft.request.sampling.top_p;
    HF_TRY(read_number(value, 0, 1, top_p));
    if (top_p == 0) return value.refuse("must be greater than 0");
    return {};
}
Result<> read_top_k(const json::Value& value, Draft& draft) {
    std::int32_t& top_k = draft.request.sampling.top_k;
    HF_TRY(read_integer(value, -1, top_k_max, top_k));
    top_k = std::max(top_k, 0);  // several servers write "off" as -1
    return {};
}
Result<> read_min_p(const json::Value& value, Draft& draft) {
    return read_number(value, 0, 1, draft.request.sampling.min_p);
}
Result<> read_repetition_penalty(const json::Value& value, Draft& draft) {
    return read_number(value, 0.01, 10, draft.request.sampling.repetition_penalty);
}
Result<> read_presence_penalty(const json::Value& value, Draft& draft) {
    return read_number(value, -2, 2, draft.request.sampling.presence_penalty);
}
Result<> read_frequency_penalty(const json::Value& value, Draft& draft) {
    return read_number(value, -2, 2, draft.request.sampling.frequency_penalty);
}
Result<> read_seed(const json::Value& value, Draft& draft) {
    HF_TRY_ASSIGN(draft.request.sampling.seed, value.bits());
    return {};
}

Result<> read_logit_bias(const json::Value& value, Draft& draft) {
    auto& biases = draft.request.sampling.logit_bias;
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

Result<> read_max_tokens(const json::Value& value, Draft& draft) {
    return read_integer(value, 1, tokens_max, draft.request.stopping.max_tokens.emplace());
}
Result<> read_max_completion_tokens(const json::Value& value, Draft& draft) {
    return read_integer(value, 1, tokens_max, draft.max_completion_tokens.emplace());
}
Result<> read_min_tokens(const json::Value& value, Draft& draft) {
    return read_integer(value, 0, tokens_max, draft.request.stopping.min_tokens);
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
    auto& stops = draft.request.stopping.stop;
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
    HF_TRY_ASSIGN(draft.request.stopping.stop_token_ids, read_ids(value));
    if (draft.request.stopping.stop_token_ids.size() > stop_token_ids_max) {
        return value.refuse(fmt::format("must not have more than {} entries", stop_token_ids_max));
    }
    return {};
}
Result<> read_ignore_eos(const json::Value& value, Draft& draft) {
    return read_flag(value, draft.request.stopping.ignore_eos);
}

Result<> read_stop_in_reasoning(const json::Value& value, Draft& draft) {
    return read_flag(value, draft.request.stopping.stop_in_reasoning);
}

Result<> read_model(const json::Value& value, Draft& draft) {
    return read_name(value, name_bytes_max, draft.request.model);
}
Result<> read_user(const json::Value& value, Draft& draft) {
    return read_name(value, user_bytes_max, draft.request.user);
}
Result<> read_choices(const json::Value& value, Draft& draft) {
    return read_integer(value, 1, choices_max, draft.request.choices);
}
Result<> read_stream(const json::Value& value, Draft& draft) {
    return read_flag(value, draft.request.stream);
}
Result<> read_stream_options(const json::Value& value, Draft& draft) {
    return value.each_member([&](std::string_view key, const json::Value& member) -> Result<> {
        if (key != "include_usage" || member.is_null()) return {};
        return read_flag(member, draft.request.include_usage);
    });
}

Result<> read_reasoning_format(const json::Value& value, Draft& draft) {
    using Form = chat::ReasoningForm;
    // The last three are llama-server's words for the same thing.
    static constexpr std::array<std::pair<std::string_view, Form>, 7> forms{{
        {"reasoning_content", Form::reasoning_content},
        {"reasoning", Form::reasoning},
        {"both", Form::both},
        {"inline", Form::inline_tags},
        {"none", Form::inline_tags},
        {"deepseek", Form::reasoning_content},
        {"auto", Form::reasoning_content},
    }};
    HF_TRY_ASSIGN(const std::string_view text, value.string());
    for (const auto& [name, form] : forms) {
        if (text == name) {
            draft.request.reasoning_form = form;
            return {};
        }
    }
    return value.refuse("must be \"reasoning_content\", \"reasoning\", \"both\" or \"inline\"");
}

Result<> read_resume(const json::Value& value, Draft& draft) {
    chat::Resume& resume = draft.request.resume.emplace();
    return value.each_element([&](const json::Value& choice) -> Result<> {
        if (resume.ids.size() == static_cast<std::size_t>(choices_max)) {
            return value.refuse("has more entries than there can be choices");
        }
        HF_TRY_ASSIGN(auto ids, read_ids(choice));
        resume.ids.push_back(std::move(ids));
        return {};
    });
}

Result<> read_extension(const json::Value& value, Draft& draft) {
    return value.each_member([&](std::string_view key, const json::Value& member) -> Result<> {
        if (member.is_null()) return {};
        if (key == "ids") return read_flag(member, draft.request.want_ids);
        if (key == "resume") return read_resume(member, draft);
        return {};
    });
}

Result<> refuse_unless_false(const json::Value& value, Draft&) {
    HF_TRY_ASSIGN(const bool wanted, value.boolean());
    if (wanted) return value.refuse("is not supported by this server");
    return {};
}

Result<> read_response_format(const json::Value& value, Draft&) {
    std::string_view type;
    HF_TRY(value.each_member([&](std::string_view key, const json::Value& member) -> Result<> {
        if (key != "type") return {};
        HF_TRY_ASSIGN(type, member.string());
        return {};
    }));
    if (type.empty()) return value.refuse("must have a type");
    if (type == "text") return {};
    if (type == "json_object" || type == "json_schema") {
        return value.refuse(
            fmt::format("of type {} is not supported by this server; only \"text\" is", type));
    }
    return value.refuse("must be of type \"text\"");
}

constexpr Field fields[] = {
    {"model", read_model},
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
    {"min_tokens", read_min_tokens},
    {"stop", read_stop},
    {"stop_in_reasoning", read_stop_in_reasoning},
    {"stop_token_ids", read_stop_token_ids},
    {"ignore_eos", read_ignore_eos},
    {"n", read_choices},
    {"stream", read_stream},
    {"stream_options", read_stream_options},
    {"user", read_user},
    {"holdfast", read_extension},
    {"max_completion_tokens", read_max_completion_tokens},
    {"reasoning_format", read_reasoning_format},
    // Constraints on the answer's form. To ignore them would be to break what was asked for.
    {"response_format", read_response_format},
    {"guided_json", refuse_unless_empty},
    {"guided_regex", refuse_unless_empty},
    {"guided_choice", refuse_unless_empty},
    {"guided_grammar", refuse_unless_empty},
    {"structured_outputs", refuse_unless_empty},
    {"grammar", refuse_unless_empty},
    {"use_beam_search", refuse_unless_false},
    {"continue_final_message", refuse_unless_false},
};

const Field* find(std::span<const Field> among, std::string_view name) {
    const auto found = std::ranges::find(among, name, &Field::name);
    return found == among.end() ? nullptr : &*found;
}

}  // namespace

std::span<const Field> shared_fields() { return fields; }

base::Result<> refuse_unless_empty(const json::Value& value, Draft&) {
    if (value.is_string() && value.string()->empty()) return {};
    if (value.is_array() && *value.length() == 0) return {};
    return value.refuse("is not supported by this server");
}

Result<std::vector<TokenId>> read_ids(const json::Value& value) {
    std::vector<TokenId> ids;
    HF_TRY(value.each_element([&](const json::Value& element) {
        return read_integer(element, 0, token_id_max, ids.emplace_back());
    }));
    return ids;
}

Result<> read_fields(const json::Value& root, std::span<const Field> own, Draft& draft) {
    return root.each_member([&](std::string_view key, const json::Value& value) -> Result<> {
        if (value.is_null()) return {};
        const Field* field = find(own, key);
        if (!field) field = find(fields, key);
        return field ? field->read(value, draft) : Result<>();
    });
}

Result<> check_shared(Draft& draft) {
    chat::Request& request = draft.request;
    if (request.model.empty()) return base::fail_field("model", "model must name a model.");
    if (draft.max_completion_tokens) request.stopping.max_tokens = draft.max_completion_tokens;
    if (request.stopping.max_tokens && request.stopping.min_tokens > *request.stopping.max_tokens) {
        return base::fail_field("min_tokens", "min_tokens must not exceed max_tokens.");
    }
    if (request.resume) {
        if (request.resume->ids.size() > request.choices) {
            return base::fail_field("holdfast.resume", "holdfast.resume has {} entries for n = {}.",
                                    request.resume->ids.size(), request.choices);
        }
        request.resume->ids.resize(request.choices);
    }
    return {};
}

}  // namespace holdfast::dialect::openai
