// One chunk of an instance's stream to one chat::Event: the gateway's hottest path, once per token
// of every stream. simdjson's on-demand interface reads the members in whatever order they come,
// and text is copied once, into the event.
#include <simdjson.h>

#include <cstring>

#include "dialect/limits.h"
#include "dialect/openai_answer.h"
#include "dialect/upstream.h"
#include "dialect/upstream_fault.h"

namespace holdfast::dialect {
namespace {

namespace ondemand = simdjson::ondemand;
using base::Code;
using base::Error;
using base::Origin;
using base::Result;
using base::Retry;

std::unexpected<Error> corrupt(std::string_view what) {
    return std::unexpected(Error{Code::corrupt,
                                 fmt::format("The instance sent a chunk that {}.", what),
                                 Origin::instance, Retry::elsewhere});
}

std::unexpected<Error> corrupt() { return corrupt("is not a valid completion chunk"); }

// Separates thinking that a server sends inside the content. Newlines next to the tags belong to
// neither part.
class InlineSplitter {
public:
    enum class State {
        off,       // content is content, reasoning is reasoning
        deciding,  // no text yet, or text that may become <think>
        opened,    // between <think> and the thinking's first character
        thinking,
        trimming,  // between </think> and the answer's first character
        answer,    // everything is content
    };
    explicit InlineSplitter(State state) : state_(state) {}

    void split(chat::Event& event) {
        if (state_ == State::off) return;
        if (state_ == State::answer) {
            event.content.insert(0, std::exchange(event.reasoning, {}));
            return;
        }
        // A server that names the reasoning splits by itself.
        if (!event.reasoning.empty()) {
            event.reasoning.insert(0, std::exchange(held_, {}));
            state_ = State::off;
            return;
        }
        std::string text = std::exchange(held_, {}) + std::exchange(event.content, {});
        if (state_ == State::deciding) decide(text);
        if (state_ == State::opened) trim(text, State::thinking);
        if (state_ == State::thinking) think(text, event);
        if (state_ == State::trimming) trim(text, State::off);
        if (state_ == State::off) event.content = std::move(text);
        if (event.finish) flush(event);
    }

private:
    static constexpr std::string_view open_tag = "<think>";
    static constexpr std::string_view close_tag = "</think>";

    void decide(std::string& text) {
        const std::size_t start = text.find_first_not_of(" \n\r\t");
        const std::string_view seen =
            start == std::string::npos ? std::string_view() : std::string_view(text).substr(start);
        if (seen.starts_with(open_tag)) {
            text.erase(0, start + open_tag.size());
            state_ = State::opened;
        } else if (open_tag.starts_with(seen)) {
            held_ = std::exchange(text, {});
        } else {
            state_ = State::off;
        }
    }

    // Moves the thinking to the event; `text` keeps what follows it.
    void think(std::string& text, chat::Event& event) {
        const std::size_t end = text.find(close_tag);
        if (end != std::string::npos) {
            const std::size_t last = text.find_last_not_of('\n', end == 0 ? 0 : end - 1);
            if (end > 0 && last != std::string::npos) event.reasoning = text.substr(0, last + 1);
            text.erase(0, end + close_tag.size());
            state_ = State::trimming;
            return;
        }
        const std::size_t safe = text.size() - open_end(text);
        event.reasoning = text.substr(0, safe);
        held_ = text.substr(safe);
        text.clear();
    }

    // Bytes at the end of `text` that may belong to "\n</think>".
    static std::size_t open_end(std::string_view text) {
        std::size_t tag = std::min(close_tag.size() - 1, text.size());
        while (tag > 0 && !text.ends_with(close_tag.substr(0, tag))) --tag;
        std::size_t newlines = 0;
        while (tag + newlines < text.size() && text[text.size() - 1 - tag - newlines] == '\n') {
            ++newlines;
        }
        return tag + newlines;
    }

    void trim(std::string& text, State next) {
        text.erase(0, text.find_first_not_of('\n'));
        if (!text.empty()) state_ = next;
    }

    void flush(chat::Event& event) {
        std::string& target = state_ == State::thinking ? event.reasoning : event.content;
        target += std::exchange(held_, {});
    }

    State state_;
    std::string held_;
};

InlineSplitter::State first_state(InstanceKind kind, const Delivered& delivered) {
    using State = InlineSplitter::State;
    if (kind == InstanceKind::holdfast) return State::off;
    if (!delivered.content.empty()) return State::answer;
    return delivered.reasoning.empty() ? State::deciding : State::thinking;
}

}  // namespace

class UpstreamReader::Impl {
public:
    Impl(InstanceKind kind, const Delivered& delivered) : splitter_(first_state(kind, delivered)) {}

    Result<Read> read(std::string_view data) {
        if (data == "[DONE]") return Read{.done = true};
        ondemand::document document;
        ondemand::object root;
        if (parser_.iterate(padded(data)).get(document) || document.get_object().get(root)) {
            return corrupt();
        }
        Chunk chunk;
        for (auto member : root) {
            ondemand::field field;
            if (std::move(member).get(field)) return corrupt();
            HF_TRY(read_member(field, data, chunk));
        }
        // Past the end there is no location: anything else is a second document.
        if (document.current_location().error() != simdjson::OUT_OF_BOUNDS) return corrupt();
        return finish(std::move(chunk));
    }

private:
    struct Chunk {
        chat::Event event;
        std::optional<chat::Usage> usage;
        bool has_choices_member = false, has_choice = false, is_chat = false;
    };

    simdjson::padded_string_view padded(std::string_view data) {
        const std::size_t needed = data.size() + simdjson::SIMDJSON_PADDING;
        if (buffer_.size() < needed) buffer_.resize(needed);
        std::memcpy(buffer_.data(), data.data(), data.size());
        return simdjson::padded_string_view(buffer_.data(), data.size(), buffer_.size());
    }

    Result<> read_member(ondemand::field& field, std::string_view data, Chunk& chunk) {
        const ondemand::raw_json_string key = field.key();
        if (key == "choices") return read_choices(field.value(), chunk);
        if (key == "usage") return read_usage(field.value(), chunk);
        if (key == "holdfast") return read_extension(field.value(), chunk.event);
        if (key == "error") {
            if (field.value().is_null()) return {};
            return std::unexpected(stream_error(data));
        }
        return {};
    }

    static Error stream_error(std::string_view data) {
        UpstreamFault fault = read_fault(data);
        const int status = fault.status != 0                       ? fault.status
                           : fault.type == "invalid_request_error" ? 400
                                                                   : 500;
        Error error = error_of(std::move(fault), status);
        error.origin = Origin::instance;
        return error;
    }

    Result<> read_choices(ondemand::value value, Chunk& chunk) {
        ondemand::array choices;
        if (value.get_array().get(choices)) return corrupt();
        chunk.has_choices_member = true;
        for (auto element : choices) {
            ondemand::object choice;
            if (element.get_object().get(choice)) return corrupt();
            if (std::exchange(chunk.has_choice, true)) {
                return corrupt("holds more than one choice");
            }
            for (auto member : choice) {
                ondemand::field field;
                if (std::move(member).get(field)) return corrupt();
                HF_TRY(read_choice_member(field, chunk));
            }
        }
        return {};
    }

    Result<> read_choice_member(ondemand::field& field, Chunk& chunk) {
        const ondemand::raw_json_string key = field.key();
        if (key == "delta") {
            chunk.is_chat = true;
            return read_delta(field.value(), chunk.event);
        }
        if (key == "text") return read_text(field.value(), chunk.event.content);
        if (key == "index") {
            std::uint64_t index = 0;
            if (field.value().get_uint64().get(index)) return corrupt();
            if (index >= choices_max) return corrupt("names a choice that cannot exist");
            chunk.event.choice = static_cast<std::uint32_t>(index);
            return {};
        }
        if (key == "finish_reason") return read_finish(field.value(), chunk.event);
        if (key == "logprobs") return read_scores(field.value(), chunk.event.scores);
        return {};
    }

    Result<> read_delta(ondemand::value value, chat::Event& event) {
        ondemand::object delta;
        if (value.get_object().get(delta)) return corrupt();
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

    static Result<> read_text(ondemand::value value, std::string& target) {
        if (value.is_null()) return {};
        std::string_view text;
        if (value.get_string().get(text)) return corrupt();
        target = text;
        return {};
    }

    static Result<> read_finish(ondemand::value value, chat::Event& event) {
        using chat::FinishReason;
        if (value.is_null()) return {};
        std::string_view reason;
        if (value.get_string().get(reason)) return corrupt();
        if (reason == "abort" || reason == "error") {
            return std::unexpected(Error{Code::unavailable, "The instance gave the answer up.",
                                         Origin::instance, Retry::elsewhere});
        }
        event.finish = reason == "length"           ? FinishReason::length
                       : reason == "tool_calls"     ? FinishReason::tool_calls
                       : reason == "content_filter" ? FinishReason::content_filter
                                                    : FinishReason::stop;
        return {};
    }

    static Result<> read_count(ondemand::value value, std::uint32_t& target) {
        if (value.is_null()) return {};
        std::uint64_t count = 0;
        if (value.get_uint64().get(count) || count > tokens_max) return corrupt();
        target = static_cast<std::uint32_t>(count);
        return {};
    }

    // {"cached_tokens": n} and the like; null and other members are passed over.
    static Result<> read_detail(ondemand::value value, std::string_view name,
                                std::uint32_t& target) {
        if (value.is_null()) return {};
        ondemand::object details;
        if (value.get_object().get(details)) return corrupt();
        for (auto member : details) {
            ondemand::field field;
            if (std::move(member).get(field)) return corrupt();
            if (field.key() == name) HF_TRY(read_count(field.value(), target));
        }
        return {};
    }

    static Result<> read_usage(ondemand::value value, Chunk& chunk) {
        if (value.is_null()) return {};
        ondemand::object usage;
        if (value.get_object().get(usage)) return corrupt();
        chat::Usage& target = chunk.usage.emplace();
        for (auto member : usage) {
            ondemand::field field;
            if (std::move(member).get(field)) return corrupt();
            const ondemand::raw_json_string key = field.key();
            if (key == "prompt_tokens") {
                HF_TRY(read_count(field.value(), target.prompt_tokens));
            } else if (key == "completion_tokens") {
                HF_TRY(read_count(field.value(), target.completion_tokens));
            } else if (key == "completion_tokens_details") {
                HF_TRY(read_detail(field.value(), "reasoning_tokens", target.reasoning_tokens));
            } else if (key == "prompt_tokens_details") {
                HF_TRY(read_detail(field.value(), "cached_tokens", target.cached_tokens));
            }
        }
        return {};
    }

    static Result<> read_extension(ondemand::value value, chat::Event& event) {
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
                if (element.get_uint64().get(id) || id > token_id_max) return corrupt();
                event.ids.push_back(static_cast<chat::TokenId>(id));
            }
        }
        return {};
    }

    // Log probabilities are asked for rarely; see upstream_scores.cpp.
    static Result<> read_scores(ondemand::value value, std::vector<chat::TokenScore>& scores);

    Result<Read> finish(Chunk chunk) {
        if (!chunk.has_choices_member && !chunk.usage) return corrupt("has no choices");
        chat::Event& event = chunk.event;
        if (chunk.is_chat) splitter_.split(event);
        if (event.scores.size() == event.ids.size()) {
            for (std::size_t i = 0; i < event.ids.size(); ++i) event.scores[i].id = event.ids[i];
        }
        // Some servers report running figures in every chunk; only the last ones count.
        if (!chunk.has_choice || event.finish) event.usage = chunk.usage;
        const bool says_something = !event.ids.empty() || !event.reasoning.empty() ||
                                    !event.content.empty() || !event.scores.empty() ||
                                    event.finish || event.usage;
        if (!says_something) return Read{};
        return Read{.event = std::move(event)};
    }

    ondemand::parser parser_;
    std::string buffer_;
    InlineSplitter splitter_;
};

namespace {

// Of chat: a list of {"token", "logprob", "bytes"}; `top_logprobs` only on the outer level.
template <class Score>
Result<> read_score_members(ondemand::object object, Score& score) {
    bool has_bytes = false;
    for (auto member : object) {
        ondemand::field field;
        if (std::move(member).get(field)) return corrupt();
        const ondemand::raw_json_string key = field.key();
        if (key == "token") {
            std::string_view text;
            if (field.value().get_string().get(text)) return corrupt();
            if (!has_bytes) score.bytes = text;
        } else if (key == "logprob") {
            double logprob = 0;
            if (field.value().get_double().get(logprob)) return corrupt();
            score.logprob = static_cast<float>(logprob);
        } else if (key == "bytes") {
            if (field.value().is_null()) continue;
            ondemand::array bytes;
            if (field.value().get_array().get(bytes)) return corrupt();
            has_bytes = true;
            score.bytes.clear();
            for (auto element : bytes) {
                std::uint64_t byte = 0;
                if (element.get_uint64().get(byte) || byte > 255) return corrupt();
                score.bytes += static_cast<char>(byte);
            }
        } else if constexpr (requires { score.top; }) {
            if (key != "top_logprobs" || field.value().is_null()) continue;
            ondemand::array top;
            if (field.value().get_array().get(top)) return corrupt();
            for (auto element : top) {
                ondemand::object alternative;
                if (element.get_object().get(alternative)) return corrupt();
                HF_TRY(read_score_members(alternative, score.top.emplace_back()));
            }
        }
    }
    return {};
}

Result<> read_chat_scores(ondemand::value value, std::vector<chat::TokenScore>& scores) {
    if (value.is_null()) return {};
    ondemand::array content;
    if (value.get_array().get(content)) return corrupt();
    for (auto element : content) {
        ondemand::object object;
        if (element.get_object().get(object)) return corrupt();
        HF_TRY(read_score_members(object, scores.emplace_back()));
    }
    return {};
}

chat::TokenScore& at(std::vector<chat::TokenScore>& scores, std::size_t index) {
    if (scores.size() <= index) scores.resize(index + 1);
    return scores[index];
}

// Of text completions: parallel lists, in any order.
Result<> read_completion_list(std::string_view name, ondemand::value value,
                              std::vector<chat::TokenScore>& scores) {
    if (value.is_null()) return {};
    ondemand::array list;
    if (value.get_array().get(list)) return corrupt();
    std::size_t index = 0;
    for (auto entry : list) {
        ondemand::value element;
        if (std::move(entry).get(element)) return corrupt();
        chat::TokenScore& score = at(scores, index++);
        if (element.is_null()) continue;
        if (name == "tokens") {
            std::string_view text;
            if (element.get_string().get(text)) return corrupt();
            score.bytes = openai::token_bytes(text, openai::completions_bytes_prefix);
        } else if (name == "token_logprobs") {
            double logprob = 0;
            if (element.get_double().get(logprob)) return corrupt();
            score.logprob = static_cast<float>(logprob);
        } else {
            ondemand::object top;
            if (element.get_object().get(top)) return corrupt();
            for (auto member : top) {
                ondemand::field field;
                std::string_view token;
                double logprob = 0;
                if (std::move(member).get(field) || field.unescaped_key().get(token) ||
                    field.value().get_double().get(logprob)) {
                    return corrupt();
                }
                score.top.push_back({0,
                                     openai::token_bytes(token, openai::completions_bytes_prefix),
                                     static_cast<float>(logprob)});
            }
        }
    }
    return {};
}

}  // namespace

Result<> UpstreamReader::Impl::read_scores(ondemand::value value,
                                           std::vector<chat::TokenScore>& scores) {
    if (value.is_null()) return {};
    ondemand::object object;
    if (value.get_object().get(object)) return corrupt();
    for (auto member : object) {
        ondemand::field field;
        if (std::move(member).get(field)) return corrupt();
        const ondemand::raw_json_string key = field.key();
        if (key == "content") HF_TRY(read_chat_scores(field.value(), scores));
        for (const std::string_view list : {"tokens", "token_logprobs", "top_logprobs"}) {
            if (key == list) HF_TRY(read_completion_list(list, field.value(), scores));
        }
    }
    return {};
}

UpstreamReader::UpstreamReader() : UpstreamReader(InstanceKind::holdfast, Delivered{}) {}
UpstreamReader::UpstreamReader(InstanceKind kind, const Delivered& delivered)
    : impl_(std::make_unique<Impl>(kind, delivered)) {}
UpstreamReader::~UpstreamReader() = default;
UpstreamReader::UpstreamReader(UpstreamReader&&) noexcept = default;
UpstreamReader& UpstreamReader::operator=(UpstreamReader&&) noexcept = default;

Result<UpstreamReader::Read> UpstreamReader::read(std::string_view data) {
    return impl_->read(data);
}

}  // namespace holdfast::dialect
