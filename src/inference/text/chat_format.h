// Chat templates as data: what stands around each kind of message.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/chat/request.h"

namespace holdfast::text {

struct ChatFormat {
    struct Affixes {
        std::string before, after;
        friend bool operator==(const Affixes&, const Affixes&) = default;
    };
    // Where system messages go: the last one alone in front, all of them joined in front, or each
    // in its place.
    enum class Systems : std::uint8_t { last, joined, in_place };
    // The R1 family writes outputs of tools as one list, opened by the conversation's first output
    // and closed by whatever does not continue it; an answer to them stands inside.
    struct Outputs {
        std::string first, next;  // before the conversation's first output, before each other one
        std::string after, end;   // after each one, after the last one of a run
        friend bool operator==(const Outputs&, const Outputs&) = default;
    };

    std::optional<std::string> begin;  // absent: the model's beginning-of-sequence token, if any
    Systems systems = Systems::last;
    std::string between_systems = "\n\n";  // where they are joined
    Affixes system, user, assistant;
    bool drops_thinking = true;      // an assistant's text keeps what follows its last </think>
    std::optional<Outputs> outputs;  // absent: what a tool says is written as the user's
    std::string generation_prompt;

    // The generation prompt ends in an open <think>.
    bool opens_thinking() const;
    friend bool operator==(const ChatFormat&, const ChatFormat&) = default;
};

// How a prompt ends.
enum class PromptEnd : std::uint8_t {
    answer,        // in the generation prompt
    message,       // after the last message
    open_message,  // inside the last message, which is to be continued
};

// The whole prompt. After outputs of tools no generation prompt is written: the answer goes on
// there. invalid where a message cannot be left open: there is none, it is a system message that
// does not stand at the end, or the format drops a part of it.
base::Result<std::string> render_chat(const ChatFormat& format,
                                      std::span<const chat::Message> messages, std::string_view bos,
                                      PromptEnd end);

struct NamedFormat {
    std::string_view name, summary;
    ChatFormat format;
};

// The formats that this program brings along.
std::span<const NamedFormat> known_formats();
const ChatFormat* find_format(std::string_view name);
std::string known_format_names();  // "a, b and c", for messages

// Reads a format from a JSON file. Every member but generation_prompt may be left out:
//
//   {"begin": "<s>",                       absent: the model's own token
//    "system": {"place": "last"|"joined"|"each", "before": "", "after": "", "between": "\n\n"},
//    "user": {"before": "<|user|>", "after": "<|end|>"},
//    "assistant": {"before": "<|assistant|>", "after": "<|end|>", "keeps_thinking": false},
//    "tool": {"first": "", "next": "", "after": "", "end": ""},
//    "generation_prompt": "<|assistant|><think>\n"}
//
// Unknown members are refused, so that a misspelt one is noticed.
base::Result<ChatFormat> read_format_file(const std::string& path);

// Recognises the source of a Jinja template. Errors say what is foreign in it.
base::Result<ChatFormat> recognise_template(std::string_view jinja_source);

}  // namespace holdfast::text
