#include <array>
#include <fstream>
#include <utility>

#include "text/json_file.h"
#include "text/tokenizer.h"

namespace holdfast::text {
namespace {

using base::Code;
using base::Result;

constexpr std::uintmax_t config_bytes_max = 16 << 20;
constexpr std::uintmax_t template_bytes_max = 1 << 20;

constexpr std::string_view user_mark = "<｜User｜>";
constexpr std::string_view assistant_mark = "<｜Assistant｜>";
constexpr std::string_view end_of_sentence = "<｜end▁of▁sentence｜>";
constexpr std::string_view tool_outputs_begin = "<｜tool▁outputs▁begin｜>";
constexpr std::string_view tool_outputs_end = "<｜tool▁outputs▁end｜>";
constexpr std::string_view tool_output_begin = "<｜tool▁output▁begin｜>";
constexpr std::string_view tool_output_end = "<｜tool▁output▁end｜>";
constexpr std::string_view open_tag = "<think>";
constexpr std::string_view close_tag = "</think>";

constexpr std::string_view known_families = "known is the family of DeepSeek-R1 and its distills";

// Every template of the family has these.
constexpr std::array required{user_mark,
                              assistant_mark,
                              end_of_sentence,
                              tool_outputs_begin,
                              tool_outputs_end,
                              tool_output_begin,
                              tool_output_end,
                              close_tag,
                              std::string_view("bos_token"),
                              std::string_view("add_generation_prompt")};

// Signs of later relatives (DeepSeek V3, R1-0528, V3.1), which join system messages, describe tools
// or place the thinking in other ways, and of things that only an interpreter could do.
constexpr auto foreign = std::to_array<std::string_view>(
    {"is_first_sp", "is_last_user", "is_only_sys", "prefix", "if tools", "in tools",
     "thinking is defined", "raise_exception", "strftime_now", "documents", "loop.", "<|im_start|>",
     "<|start_header_id|>", "[INST]"});

struct Source {
    std::string text, where;
};

std::unexpected<base::Error> unknown(const Source& source, std::string_view reason) {
    return base::fail(Code::invalid, "{}: the chat template is unknown: {}; {}", source.where,
                      reason, known_families);
}

// What the template appends to ask for an answer: the assistant's mark, since February 2025 with
// an open <think>.
Result<std::string> generation_prompt_of(const Source& source) {
    std::string prompt(assistant_mark);
    const std::string_view text = source.text;
    for (std::size_t at = text.find(open_tag); at != std::string_view::npos;
         at = text.find(open_tag, at + 1)) {
        if (!text.substr(0, at).ends_with(assistant_mark))
            return unknown(source, "<think> stands elsewhere than after the assistant's mark");
        const std::string_view rest = text.substr(at + open_tag.size());
        std::string_view opening;
        if (rest.starts_with("\\n'") || rest.starts_with("\\n\"") || rest.starts_with("\n"))
            opening = "<think>\n";
        else if (rest.starts_with("'") || rest.starts_with("\""))
            opening = "<think>";
        else
            return unknown(source, "<think> is followed by more than a newline");
        prompt = fmt::format("{}{}", assistant_mark, opening);
    }
    return prompt;
}

Result<std::string> recognise(const Source& source) {
    for (const std::string_view mark : required)
        if (!source.text.contains(mark)) return unknown(source, fmt::format("it lacks {}", mark));
    for (const std::string_view mark : foreign)
        if (source.text.contains(mark)) return unknown(source, fmt::format("it has \"{}\"", mark));
    return generation_prompt_of(source);
}

Result<Source> read_text_file(const std::string& path) {
    HF_TRY_ASSIGN(const auto size, checked_file_size(path, template_bytes_max));
    Source source{std::string(size, '\0'), path};
    std::ifstream file(path, std::ios::binary);
    file.read(source.text.data(), static_cast<std::streamsize>(size));
    if (!file) return base::fail(Code::corrupt, "{}: cannot be read", path);
    return source;
}

// A template, or a list of named ones among which "default" counts.
Result<Source> template_of_config(const JsonField& field) {
    if (!field.is_array()) {
        HF_TRY_ASSIGN(const auto text, field.string());
        return Source{std::string(text), field.where()};
    }
    HF_TRY_ASSIGN(const auto entries, field.elements());
    for (const JsonField& entry : entries) {
        HF_TRY_ASSIGN(const auto name, entry["name"].string());
        if (name != "default") continue;
        HF_TRY_ASSIGN(const auto text, entry["template"].string());
        return Source{std::string(text), entry.where()};
    }
    return field.fail(Code::invalid, "none of the {} templates is named \"default\"",
                      entries.size());
}

Result<Source> find_template(const std::string& folder, const JsonField& config) {
    auto file = read_text_file(folder + "/chat_template.jinja");
    if (file || file.error().code != Code::not_found) return file;
    const JsonField field = config["chat_template"];
    if (!field.present())
        return field.fail(Code::not_found, "is missing, and there is no chat_template.jinja; {}",
                          known_families);
    return template_of_config(field);
}

bool ends_in_tool_outputs(std::span<const chat::Message> messages) {
    for (std::size_t i = messages.size(); i-- > 0;)
        if (messages[i].role != chat::Role::system) return messages[i].role == chat::Role::tool;
    return false;
}

// The turns of one conversation, in the order of the templates.
class Rendering {
public:
    explicit Rendering(std::string prompt) : prompt_(std::move(prompt)) {}

    void turn(const chat::Message& message) {
        switch (message.role) {
            case chat::Role::system:
                break;  // written in front
            case chat::Role::user:
                in_outputs_ = false;
                append({user_mark, message.content});
                break;
            case chat::Role::assistant:
                assistant(message.content);
                break;
            case chat::Role::tool:
                append({seen_outputs_ ? "\n" : tool_outputs_begin, tool_output_begin,
                        message.content, tool_output_end});
                in_outputs_ = seen_outputs_ = true;
                break;
        }
    }
    std::string finish(std::string_view generation_prompt) && {
        append({in_outputs_ ? tool_outputs_end : generation_prompt});
        return std::move(prompt_);
    }

private:
    void assistant(std::string_view content) {
        if (in_outputs_) {
            append({tool_outputs_end, content, end_of_sentence});
            in_outputs_ = false;
            return;
        }
        // Earlier thinking is not shown to the model again.
        if (const std::size_t close = content.rfind(close_tag); close != std::string_view::npos)
            content.remove_prefix(close + close_tag.size());
        append({assistant_mark, content, end_of_sentence});
    }
    void append(std::initializer_list<std::string_view> parts) {
        for (const std::string_view part : parts) prompt_ += part;
    }

    std::string prompt_;
    bool in_outputs_ = false;
    bool seen_outputs_ = false;  // the templates open the list of outputs only once
};

}  // namespace

Result<ChatTemplate> ChatTemplate::load(const std::string& folder) {
    JsonFile config;
    HF_TRY(config.open(folder + "/tokenizer_config.json", config_bytes_max));
    ChatTemplate result;
    const JsonField bos = config.root()["bos_token"];
    HF_TRY_ASSIGN(result.bos_, bos.is_object() ? bos["content"].string() : bos.string());
    HF_TRY_ASSIGN(const Source source, find_template(folder, config.root()));
    HF_TRY_ASSIGN(result.generation_prompt_, recognise(source));
    result.opens_thinking_ = result.generation_prompt_.size() > assistant_mark.size();
    return result;
}

bool ChatTemplate::opens_thinking(std::span<const chat::Message> messages) const {
    return opens_thinking_ && !ends_in_tool_outputs(messages);
}

std::string ChatTemplate::render(std::span<const chat::Message> messages) const {
    std::string_view system;
    for (const chat::Message& message : messages)
        if (message.role == chat::Role::system) system = message.content;
    Rendering rendering(fmt::format("{}{}", bos_, system));
    for (const chat::Message& message : messages) rendering.turn(message);
    return std::move(rendering).finish(generation_prompt_);
}

}  // namespace holdfast::text
