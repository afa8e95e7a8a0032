#include "common/dialect/openai_fields.h"

#include <algorithm>
#include <array>

#include "common/dialect/limits.h"

namespace holdfast::dialect::openai {
namespace {

using base::Result;
using chat::TokenId;

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

Result<> read_model(const json::Value& value, Draft& draft) {
    return read_name(value, name_bytes_max, draft.request.model);
}
Result<> read_user(const json::Value& value, Draft& draft) {
    return read_name(value, user_bytes_max, draft.request.user);
}
Result<> read_choices(const json::Value& value, Draft& draft) {
    return read_integer(value, 1, chat::choices_max, draft.request.generation.choices);
}
Result<> read_stream(const json::Value& value, Draft& draft) {
    return read_flag(value, draft.request.presentation.stream);
}
Result<> read_stream_options(const json::Value& value, Draft& draft) {
    draft.has_stream_options = true;
    return value.each_field([&](std::string_view key, const json::Value& member) -> Result<> {
        if (key != "include_usage" || member.is_null()) return {};
        return read_flag(member, draft.request.presentation.include_usage);
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
            draft.request.presentation.reasoning = form;
            return {};
        }
    }
    return value.refuse("must be \"reasoning_content\", \"reasoning\", \"both\" or \"inline\"");
}

Result<> read_resume(const json::Value& value, Draft& draft) {
    chat::Resume& resume = draft.request.generation.resume.emplace();
    return value.each_element([&](const json::Value& choice) -> Result<> {
        if (resume.ids.size() == chat::choices_max) {
            return value.refuse("has more entries than there can be choices");
        }
        HF_TRY_ASSIGN(auto ids, read_ids(choice));
        resume.ids.push_back(std::move(ids));
        return {};
    });
}

Result<> read_extension(const json::Value& value, Draft& draft) {
    return value.each_field([&](std::string_view key, const json::Value& member) -> Result<> {
        if (member.is_null()) return {};
        if (key == "ids") return read_flag(member, draft.request.presentation.want_ids);
        if (key == "resume") return read_resume(member, draft);
        return {};
    });
}

Result<> read_response_format(const json::Value& value, Draft&) {
    std::string_view type;
    HF_TRY(value.each_field([&](std::string_view key, const json::Value& member) -> Result<> {
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
    {"n", read_choices},
    {"stream", read_stream},
    {"stream_options", read_stream_options},
    {"user", read_user},
    {"holdfast", read_extension},
    {"reasoning_format", read_reasoning_format},
    // Constraints on the answer's form. To ignore them would be to break what was asked for.
    {"response_format", read_response_format},
};

const Field* find(std::span<const Field> among, std::string_view name) {
    const auto found = std::ranges::find(among, name, &Field::name);
    return found == among.end() ? nullptr : &*found;
}

}  // namespace

Result<std::vector<TokenId>> read_ids(const json::Value& value) {
    std::vector<TokenId> ids;
    HF_TRY(value.each_element([&](const json::Value& element) {
        return read_integer(element, 0, token_id_max, ids.emplace_back());
    }));
    return ids;
}

Result<> read_fields(const json::Value& root, std::span<const Field> own, Draft& draft) {
    const std::array tables{own, std::span<const Field>(fields), sampling_fields(),
                            unsupported_fields()};
    return root.each_field([&](std::string_view key, const json::Value& value) -> Result<> {
        if (value.is_null()) return {};
        for (const auto table : tables) {
            if (const Field* field = find(table, key)) return field->read(value, draft);
        }
        return {};
    });
}

Result<> check_shared(Draft& draft) {
    if (draft.request.model.empty()) return base::fail_field("model", "model must name a model.");
    if (draft.has_stream_options && !draft.request.presentation.stream) {
        return base::fail_field("stream_options", "stream_options needs stream to be true.");
    }
    chat::Generation& request = draft.request.generation;
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
