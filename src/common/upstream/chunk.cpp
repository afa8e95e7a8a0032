// The gateway's hottest path, once per token of every stream. simdjson's on-demand interface reads
// the members in whatever order they come, and text is copied once, into the event.
#include "common/upstream/chunk.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>

#include "common/upstream/error.h"
#include "common/upstream/limits.h"
#include "common/upstream/scores.h"

namespace holdfast::upstream {
namespace {

namespace ondemand = simdjson::ondemand;
using base::Code;
using base::Error;
using base::Origin;
using base::Result;
using base::Retry;

constexpr std::string_view no_chunk = "is not a valid completion chunk";

std::unexpected<Error> corrupt(std::string_view what = no_chunk) { return corrupt_chunk(what); }

// What the finish words of OpenAI, vLLM, SGLang, llama-server, Ollama, TGI, Mistral, Cohere and
// Anthropic mean. A word that nobody knows does not mean "stop".
struct FinishWord {
    std::string_view word;
    chat::FinishReason reason;
};
constexpr std::array finish_words{
    FinishWord{"stop", chat::FinishReason::stop},
    FinishWord{"length", chat::FinishReason::length},
    FinishWord{"tool_calls", chat::FinishReason::tool_calls},
    FinishWord{"function_call", chat::FinishReason::tool_calls},
    FinishWord{"content_filter", chat::FinishReason::content_filter},
    FinishWord{"eos", chat::FinishReason::stop},
    FinishWord{"eos_token", chat::FinishReason::stop},
    FinishWord{"stop_sequence", chat::FinishReason::stop},
    FinishWord{"end_turn", chat::FinishReason::stop},
    FinishWord{"complete", chat::FinishReason::stop},
    FinishWord{"max_tokens", chat::FinishReason::length},
    FinishWord{"model_length", chat::FinishReason::length},
    FinishWord{"limit", chat::FinishReason::length},
};
constexpr std::array<std::string_view, 6> given_up_words{
    "abort", "error", "cancelled", "canceled", "unload", "insufficient_system_resource"};

Result<> read_finish(ondemand::value value, chat::Event& event) {
    std::string_view text;
    if (value.get_string().get(text)) {
        if (value.is_null()) return {};
        return corrupt("has a finish_reason that is no word");
    }
    // Older Ollama and SGLang write "" in place of null, DashScope "null".
    if (text.empty() || text == "null") return {};
    std::string word(text.substr(0, word_bytes_max));
    std::ranges::transform(word, word.begin(), [](char letter) {
        return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
    });
    const auto known = std::ranges::find(finish_words, word, &FinishWord::word);
    if (known != finish_words.end()) {
        event.finish = known->reason;
        return {};
    }
    if (std::ranges::find(given_up_words, word) == given_up_words.end())
        return corrupt("ends for a reason that nobody knows");
    return std::unexpected(Error{Code::unavailable, "The instance gave the answer up.",
                                 Origin::instance, Retry::elsewhere});
}

Result<> read_text(ondemand::value value, std::string& target);

// [{"type":"text","text":"..."}, "...", ...]: parts of other types are none of ours.
Result<> read_text_parts(ondemand::value value, std::string& target) {
    ondemand::array parts;
    if (value.get_array().get(parts)) return corrupt();
    std::string joined;
    for (auto element : parts) {
        ondemand::value part;
        if (std::move(element).get(part)) return corrupt();
        std::string_view text;
        if (!part.get_string().get(text)) {
            joined += text;
            continue;
        }
        ondemand::object object;
        if (part.get_object().get(object)) return corrupt();
        for (auto member : object) {
            ondemand::field field;
            if (std::move(member).get(field)) return corrupt();
            if (field.key() != "text") continue;
            if (field.value().get_string().get(text)) return corrupt();
            joined += text;
        }
    }
    target = std::move(joined);
    return {};
}

Result<> read_text(ondemand::value value, std::string& target) {
    std::string_view text;
    if (!value.get_string().get(text)) {
        target = text;
        return {};
    }
    if (value.is_null()) return {};
    return read_text_parts(value, target);
}

Result<> read_delta(ondemand::value value, chat::Event& event) {
    ondemand::object delta;
    if (value.get_object().get(delta)) {
        if (value.is_null()) return {};
        return corrupt();
    }
    for (auto member : delta) {
        ondemand::field field;
        if (std::move(member).get(field)) return corrupt();
        const ondemand::raw_json_string key = field.key();
        if (key == "content") {
            HF_TRY(read_text(field.value(), event.content));
        } else if (key == "reasoning_content" || key == "reasoning") {
            // A server that sends both names sends the same text twice.
            if (event.reasoning.empty()) HF_TRY(read_text(field.value(), event.reasoning));
        }
    }
    return {};
}

// 3 and 3.0; false for what is no count.
bool read_count(ondemand::value value, std::uint64_t& count) {
    if (!value.get_uint64().get(count)) return true;
    double real = 0;
    if (value.get_double().get(real) || !(real >= 0) || !(real < 0x1p53) ||
        std::trunc(real) != real)
        return false;
    count = static_cast<std::uint64_t>(real);
    return true;
}

Result<> read_choice_member(ondemand::field& field, const ChunkRules& rules, Chunk& chunk) {
    const ondemand::raw_json_string key = field.key();
    if (key == "delta") {
        chunk.is_chat = true;
        return read_delta(field.value(), chunk.event);
    }
    if (key == "text") return read_text(field.value(), chunk.event.content);
    if (key == "index") {
        std::uint64_t index = 0;
        if (!read_count(field.value(), index)) return corrupt("numbers a choice with no number");
        if (index >= chat::choices_max) return corrupt("names a choice that cannot exist");
        chunk.event.choice = static_cast<std::uint32_t>(index);
        return {};
    }
    if (key == "finish_reason") return read_finish(field.value(), chunk.event);
    if (key == "logprobs" && rules.wants_scores && !read_scores(field.value(), chunk.event.scores))
        return corrupt("has log probabilities that are none");
    return {};
}

Result<> read_choices(ondemand::value value, const ChunkRules& rules, Chunk& chunk) {
    ondemand::array choices;
    if (value.get_array().get(choices)) {
        if (value.is_null()) return {};
        return corrupt();
    }
    for (auto element : choices) {
        ondemand::object choice;
        if (element.get_object().get(choice)) return corrupt();
        if (std::exchange(chunk.has_choice, true)) {
            if (chunk.further.size() + 1 >= chat::choices_max)
                return corrupt("holds more choices than can exist");
            chunk.further.push_back(std::exchange(chunk.event, {}));
        }
        for (auto member : choice) {
            ondemand::field field;
            if (std::move(member).get(field)) return corrupt();
            HF_TRY(read_choice_member(field, rules, chunk));
        }
    }
    return {};
}

// Figures that cannot be are no reason to lose an answer: the whole usage is passed over.
class UsageReader {
public:
    Result<> read(ondemand::value value, std::optional<chat::Usage>& target) {
        ondemand::object usage;
        if (value.get_object().get(usage)) return {};
        for (auto member : usage) {
            ondemand::field field;
            if (std::move(member).get(field)) return corrupt();
            const ondemand::raw_json_string key = field.key();
            if (key == "prompt_tokens") {
                count(field.value(), usage_.prompt_tokens);
            } else if (key == "completion_tokens") {
                count(field.value(), usage_.completion_tokens);
            } else if (key == "completion_tokens_details") {
                HF_TRY(detail(field.value(), "reasoning_tokens", usage_.reasoning_tokens));
            } else if (key == "prompt_tokens_details") {
                HF_TRY(detail(field.value(), "cached_tokens", usage_.cached_tokens));
            }
        }
        if (!is_sound_) return {};
        usage_.reasoning_tokens = std::min(usage_.reasoning_tokens, usage_.completion_tokens);
        usage_.cached_tokens = std::min(usage_.cached_tokens, usage_.prompt_tokens);
        target = usage_;
        return {};
    }

private:
    void count(ondemand::value value, std::uint32_t& target) {
        std::uint64_t number = 0;
        if (!read_count(value, number)) {
            is_sound_ = is_sound_ && value.is_null();
        } else if (number > count_max) {
            is_sound_ = false;
        } else {
            target = static_cast<std::uint32_t>(number);
        }
    }

    // {"cached_tokens": n} and the like; null and other members are passed over.
    Result<> detail(ondemand::value value, std::string_view name, std::uint32_t& target) {
        ondemand::object details;
        if (value.get_object().get(details)) return {};
        for (auto member : details) {
            ondemand::field field;
            if (std::move(member).get(field)) return corrupt();
            if (field.key() == name) count(field.value(), target);
        }
        return {};
    }

    chat::Usage usage_;
    bool is_sound_ = true;
};

Result<> read_extension(ondemand::value value, chat::Event& event) {
    ondemand::object extension;
    if (value.get_object().get(extension)) return corrupt();
    for (auto member : extension) {
        ondemand::field field;
        if (std::move(member).get(field)) return corrupt();
        if (field.key() != "ids") continue;
        ondemand::array ids;
        if (field.value().get_array().get(ids)) return corrupt();
        for (auto element : ids) {
            std::uint64_t id = 0;
            if (element.get_uint64().get(id) || id >= chat::token_ids_max)
                return corrupt("holds an id that no vocabulary has");
            if (event.ids.size() == event_ids_max) return corrupt("holds too many ids");
            event.ids.push_back(static_cast<chat::TokenId>(id));
        }
    }
    return {};
}

Result<> read_member(ondemand::field& field, std::string_view data, const ChunkRules& rules,
                     Chunk& chunk) {
    const ondemand::raw_json_string key = field.key();
    if (key == "choices") return read_choices(field.value(), rules, chunk);
    if (key == "usage") return UsageReader().read(field.value(), chunk.usage);
    if (key == "holdfast" && rules.extended) return read_extension(field.value(), chunk.event);
    if (key == "error") {
        std::string_view text;
        const bool is_text = !field.value().get_string().get(text);
        if (is_text ? text.empty() : bool(field.value().is_null())) return {};
        return std::unexpected(read_stream_error(data));
    }
    // vLLM's older errors lie flat.
    if (key == "object" && field.value().raw_json_token().starts_with(R"("error")"))
        return std::unexpected(read_stream_error(data));
    return {};
}

struct Workspace {
    ondemand::parser parser;
    std::string buffer;
};

simdjson::padded_string_view padded(std::string_view data, std::string& buffer) {
    const std::size_t needed = data.size() + simdjson::SIMDJSON_PADDING;
    if (buffer.size() < needed) buffer.resize(needed);
    std::memcpy(buffer.data(), data.data(), data.size());
    return simdjson::padded_string_view(buffer.data(), data.size(), buffer.size());
}

Result<> read_with(Workspace& workspace, std::string_view data, const ChunkRules& rules,
                   Chunk& chunk) {
    ondemand::document document;
    ondemand::object root;
    if (workspace.parser.iterate(padded(data, workspace.buffer)).get(document) ||
        document.get_object().get(root)) {
        return corrupt();
    }
    for (auto member : root) {
        ondemand::field field;
        if (std::move(member).get(field)) return corrupt();
        HF_TRY(read_member(field, data, rules, chunk));
    }
    // Past the end there is no location: anything else is a second document.
    if (document.current_location().error() != simdjson::OUT_OF_BOUNDS) return corrupt();
    return {};
}

}  // namespace

std::unexpected<Error> corrupt_chunk(std::string_view what) {
    return std::unexpected(Error{Code::corrupt,
                                 fmt::format("The instance sent a chunk that {}.", what),
                                 Origin::instance, Retry::elsewhere});
}

Result<> read_chunk(std::string_view data, const ChunkRules& rules, Chunk& chunk) {
    // Streams share what reading one chunk needs: it is warm, and a waiting stream owns none.
    constexpr std::size_t shared_bytes_max = 64 * 1024;
    thread_local Workspace shared;
    if (data.size() <= shared_bytes_max) return read_with(shared, data, rules, chunk);
    Workspace own;
    return read_with(own, data, rules, chunk);
}

}  // namespace holdfast::upstream
