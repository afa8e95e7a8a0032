#include "inference/text/chat_format.h"

#include <array>
#include <utility>

namespace holdfast::text {
namespace {

using chat::Message;
using chat::Role;

constexpr std::string_view open_tag = "<think>";
constexpr std::string_view close_tag = "</think>";

// One conversation, message after message.
class Rendering {
public:
    Rendering(const ChatFormat& format, std::span<const Message> messages, std::string_view bos)
        : format_(format), messages_(messages) {
        append({format.begin ? std::string_view(*format.begin) : bos});
    }

    std::string run(PromptEnd end) && {
        if (format_.systems != ChatFormat::Systems::in_place) systems_in_front();
        for (const Message& message : messages_)
            turn(message, end != PromptEnd::open_message || &message != &messages_.back());
        if (end == PromptEnd::open_message) return std::move(prompt_);
        if (in_outputs_) {
            append({format_.outputs->end});
        } else if (end == PromptEnd::answer) {
            append({format_.generation_prompt});
        }
        return std::move(prompt_);
    }

private:
    void systems_in_front() {
        const bool joins = format_.systems == ChatFormat::Systems::joined;
        std::string text;
        bool any = false;
        for (const Message& message : messages_) {
            if (message.role != Role::system) continue;
            if (!joins) text.clear();
            if (joins && any) text += format_.between_systems;
            text += message.content;
            any = true;
        }
        if (any) append({format_.system.before, text, format_.system.after});
    }

    void turn(const Message& message, bool closes) {
        switch (message.role) {
            case Role::system:
                if (format_.systems == ChatFormat::Systems::in_place)
                    write(format_.system, message.content, closes);
                break;
            case Role::user:
                in_outputs_ = false;
                write(format_.user, message.content, closes);
                break;
            case Role::assistant:
                assistant(message.content, closes);
                break;
            case Role::tool:
                tool(message.content, closes);
                break;
        }
    }

    void assistant(std::string_view content, bool closes) {
        if (std::exchange(in_outputs_, false)) {
            write({format_.outputs->end, format_.assistant.after}, content, closes);
            return;
        }
        // Earlier thinking is not shown to the model again.
        if (const std::size_t close = content.rfind(close_tag);
            format_.drops_thinking && close != std::string_view::npos)
            content.remove_prefix(close + close_tag.size());
        write(format_.assistant, content, closes);
    }

    void tool(std::string_view content, bool closes) {
        if (!format_.outputs) {
            write(format_.user, content, closes);
            return;
        }
        const ChatFormat::Outputs& outputs = *format_.outputs;
        write({seen_outputs_ ? outputs.next : outputs.first, outputs.after}, content, closes);
        in_outputs_ = seen_outputs_ = true;
    }

    void write(const ChatFormat::Affixes& around, std::string_view content, bool closes) {
        append({around.before, content});
        if (closes) append({around.after});
    }
    void append(std::initializer_list<std::string_view> parts) {
        for (const std::string_view part : parts) prompt_ += part;
    }

    const ChatFormat& format_;
    std::span<const Message> messages_;
    std::string prompt_;
    bool in_outputs_ = false;
    bool seen_outputs_ = false;  // the family opens the list of outputs only once
};

base::Result<> check_open(const ChatFormat& format, std::span<const Message> messages) {
    if (messages.empty())
        return base::fail_field("messages", "There is no final message to continue.");
    const Message& last = messages.back();
    if (last.role == Role::system && format.systems != ChatFormat::Systems::in_place)
        return base::fail_field("messages",
                                "The final message cannot be continued: the model's template "
                                "writes system messages in front.");
    const bool answers_tool =
        format.outputs && messages.size() > 1 && messages[messages.size() - 2].role == Role::tool;
    if (last.role == Role::assistant && format.drops_thinking && !answers_tool &&
        last.content.contains(close_tag))
        return base::fail_field("messages",
                                "The final message cannot be continued: the model's template "
                                "drops what it says up to {}.",
                                close_tag);
    return {};
}

ChatFormat deepseek(ChatFormat::Systems systems, std::string_view next_output,
                    std::string_view opening) {
    ChatFormat format;
    format.systems = systems;
    format.user.before = "<｜User｜>";
    format.assistant = {"<｜Assistant｜>", "<｜end▁of▁sentence｜>"};
    format.outputs = {"<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>", std::string(next_output),
                      "<｜tool▁output▁end｜>", "<｜tool▁outputs▁end｜>"};
    format.generation_prompt = fmt::format("<｜Assistant｜>{}", opening);
    return format;
}

}  // namespace

bool ChatFormat::opens_thinking() const {
    std::string_view prompt = generation_prompt;
    prompt = prompt.substr(0, prompt.find_last_not_of(" \t\r\n") + 1);
    return prompt.ends_with(open_tag);
}

base::Result<std::string> render_chat(const ChatFormat& format, std::span<const Message> messages,
                                      std::string_view bos, PromptEnd end) {
    if (end == PromptEnd::open_message) HF_TRY(check_open(format, messages));
    return Rendering(format, messages, bos).run(end);
}

std::span<const NamedFormat> known_formats() {
    using enum ChatFormat::Systems;
    constexpr std::string_view on_new_line = "\n<｜tool▁output▁begin｜>";
    constexpr std::string_view on_same_line = "<｜tool▁output▁begin｜>";
    static const std::array formats{
        NamedFormat{"deepseek-r1-distill", "R1's distills since February 2025: <think> is opened",
                    deepseek(last, on_new_line, "<think>\n")},
        NamedFormat{"deepseek-r1-distill-no-think", "the same before: the model opens <think>",
                    deepseek(last, on_new_line, "")},
        NamedFormat{"deepseek-r1", "R1's own: all system messages count",
                    deepseek(joined, on_same_line, "<think>\n")},
        NamedFormat{"deepseek-r1-no-think", "the same before February 2025",
                    deepseek(joined, on_same_line, "")},
    };
    return formats;
}

const ChatFormat* find_format(std::string_view name) {
    for (const NamedFormat& known : known_formats())
        if (known.name == name) return &known.format;
    return nullptr;
}

std::string known_format_names() {
    std::string names;
    const auto formats = known_formats();
    for (std::size_t i = 0; i < formats.size(); ++i) {
        if (i > 0) names += i + 1 == formats.size() ? " and " : ", ";
        names += formats[i].name;
    }
    return names;
}

}  // namespace holdfast::text
