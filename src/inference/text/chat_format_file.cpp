#include <fmt/ranges.h>

#include <algorithm>

#include "inference/text/chat_format.h"
#include "inference/text/json_file.h"

namespace holdfast::text {
namespace {

using base::Code;
using base::Result;

constexpr std::uintmax_t file_bytes_max = 1 << 20;

Result<> refuse_unknown(const JsonField& field, std::initializer_list<std::string_view> known) {
    HF_TRY_ASSIGN(const auto object, field.object());
    for (const auto [key, value] : object)
        if (std::ranges::find(known, key) == known.end())
            return field[key].fail(Code::invalid, "is unknown; known are {}",
                                   fmt::join(known, ", "));
    return {};
}

Result<std::string> text_or(const JsonField& field, std::string_view absent) {
    if (!field.present()) return std::string(absent);
    HF_TRY_ASSIGN(const auto text, field.string());
    return std::string(text);
}

Result<ChatFormat::Affixes> read_affixes(const JsonField& field) {
    ChatFormat::Affixes affixes;
    HF_TRY_ASSIGN(affixes.before, text_or(field["before"], ""));
    HF_TRY_ASSIGN(affixes.after, text_or(field["after"], ""));
    return affixes;
}

Result<> read_system(const JsonField& field, ChatFormat& format) {
    HF_TRY(refuse_unknown(field, {"place", "before", "after", "between"}));
    HF_TRY_ASSIGN(format.system, read_affixes(field));
    HF_TRY_ASSIGN(format.between_systems, text_or(field["between"], format.between_systems));
    HF_TRY_ASSIGN(const std::string place, text_or(field["place"], "last"));
    if (place == "last") {
        format.systems = ChatFormat::Systems::last;
    } else if (place == "joined") {
        format.systems = ChatFormat::Systems::joined;
    } else if (place == "each") {
        format.systems = ChatFormat::Systems::in_place;
    } else {
        return field["place"].fail(Code::invalid,
                                   "must be \"last\", \"joined\" or \"each\", not \"{}\"", place);
    }
    return {};
}

Result<> read_assistant(const JsonField& field, ChatFormat& format) {
    HF_TRY(refuse_unknown(field, {"before", "after", "keeps_thinking"}));
    HF_TRY_ASSIGN(format.assistant, read_affixes(field));
    HF_TRY_ASSIGN(const bool keeps, field["keeps_thinking"].boolean_or(false));
    format.drops_thinking = !keeps;
    return {};
}

Result<> read_outputs(const JsonField& field, ChatFormat& format) {
    HF_TRY(refuse_unknown(field, {"first", "next", "after", "end"}));
    ChatFormat::Outputs& outputs = format.outputs.emplace();
    HF_TRY_ASSIGN(outputs.first, text_or(field["first"], ""));
    HF_TRY_ASSIGN(outputs.next, text_or(field["next"], ""));
    HF_TRY_ASSIGN(outputs.after, text_or(field["after"], ""));
    HF_TRY_ASSIGN(outputs.end, text_or(field["end"], ""));
    return {};
}

}  // namespace

Result<ChatFormat> read_format_file(const std::string& path) {
    JsonFile file;
    HF_TRY(file.open(path, file_bytes_max));
    const JsonField& root = file.root();
    HF_TRY(refuse_unknown(root,
                          {"begin", "system", "user", "assistant", "tool", "generation_prompt"}));
    ChatFormat format;
    if (root["begin"].present()) {
        HF_TRY_ASSIGN(format.begin, text_or(root["begin"], ""));
    }
    if (root["system"].present()) HF_TRY(read_system(root["system"], format));
    if (root["user"].present()) {
        HF_TRY(refuse_unknown(root["user"], {"before", "after"}));
        HF_TRY_ASSIGN(format.user, read_affixes(root["user"]));
    }
    if (root["assistant"].present()) HF_TRY(read_assistant(root["assistant"], format));
    if (root["tool"].present()) HF_TRY(read_outputs(root["tool"], format));
    HF_TRY_ASSIGN(const auto prompt, root["generation_prompt"].string());
    format.generation_prompt = prompt;
    return format;
}

}  // namespace holdfast::text
