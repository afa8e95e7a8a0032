// One chunk of an instance's stream to one chat::Event: the gateway's hottest path, once per token
// of every stream. simdjson's on-demand interface reads the members in whatever order they come,
// and text is copied once, into the event.
#include <simdjson.h>

#include <cstring>

#include "common/dialect/limits.h"
#include "common/upstream/fault.h"
#include "common/upstream/inline_splitter.h"
#include "common/upstream/scores.h"
#include "common/upstream/upstream.h"

namespace holdfast::upstream {
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

InlineSplitter::State first_state(InstanceKind kind, const Delivered& delivered) {
    using State = InlineSplitter::State;
    if (kind == InstanceKind::holdfast) return State::off;
    if (!delivered.content.empty()) return State::answer;
    if (delivered.server_splits) return State::off;
    return delivered.reasoning.empty() ? State::deciding : State::thinking;
}

}  // namespace

class UpstreamReader::Impl {
public:
    Impl(InstanceKind kind, const Delivered& delivered)
        : splitter_(first_state(kind, delivered)), extended_(kind == InstanceKind::holdfast) {}

    bool server_splits() const { return server_splits_; }

    Result<Read> read(std::string_view data) {
        if (data == "[DONE]") return Read{.done = true};
        // Streams share what reading one chunk needs: it is warm, and a waiting stream owns none.
        thread_local Workspace shared;
        if (data.size() <= shared_bytes_max) return read_chunk(data, shared);
        Workspace own;
        return read_chunk(data, own);
    }

private:
    static constexpr std::size_t shared_bytes_max = 64 * 1024;
    struct Workspace {
        ondemand::parser parser;
        std::string buffer;
    };

    Result<Read> read_chunk(std::string_view data, Workspace& workspace) {
        ondemand::document document;
        ondemand::object root;
        if (workspace.parser.iterate(padded(data, workspace.buffer)).get(document) ||
            document.get_object().get(root)) {
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

    struct Chunk {
        chat::Event event;
        std::optional<chat::Usage> usage;
        bool has_choices_member = false, has_choice = false, is_chat = false;
    };

    static simdjson::padded_string_view padded(std::string_view data, std::string& buffer) {
        const std::size_t needed = data.size() + simdjson::SIMDJSON_PADDING;
        if (buffer.size() < needed) buffer.resize(needed);
        std::memcpy(buffer.data(), data.data(), data.size());
        return simdjson::padded_string_view(buffer.data(), data.size(), buffer.size());
    }

    Result<> read_member(ondemand::field& field, std::string_view data, Chunk& chunk) {
        const ondemand::raw_json_string key = field.key();
        if (key == "choices") return read_choices(field.value(), chunk);
        if (key == "usage") return read_usage(field.value(), chunk);
        if (key == "holdfast" && extended_) return read_extension(field.value(), chunk.event);
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
            if (index >= dialect::choices_max) return corrupt("names a choice that cannot exist");
            chunk.event.choice = static_cast<std::uint32_t>(index);
            return {};
        }
        if (key == "finish_reason") return read_finish(field.value(), chunk.event);
        if (key == "logprobs" && !read_scores(field.value(), chunk.event.scores)) return corrupt();
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
        if (value.get_uint64().get(count) || count > dialect::tokens_max) return corrupt();
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
                if (element.get_uint64().get(id) || id >= chat::token_ids_max)
                    return corrupt("holds an id that no vocabulary has");
                event.ids.push_back(static_cast<chat::TokenId>(id));
            }
        }
        return {};
    }

    Result<Read> finish(Chunk chunk) {
        if (!chunk.has_choices_member && !chunk.usage) return corrupt("has no choices");
        chat::Event& event = chunk.event;
        server_splits_ = server_splits_ || !event.reasoning.empty();
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

    InlineSplitter splitter_;
    const bool extended_;  // the extension is read from holdfast instances alone
    bool server_splits_ = false;
};

UpstreamReader::UpstreamReader() : UpstreamReader(InstanceKind::holdfast, Delivered{}) {}
UpstreamReader::UpstreamReader(InstanceKind kind, const Delivered& delivered)
    : impl_(std::make_unique<Impl>(kind, delivered)) {}
UpstreamReader::~UpstreamReader() = default;
UpstreamReader::UpstreamReader(UpstreamReader&&) noexcept = default;
UpstreamReader& UpstreamReader::operator=(UpstreamReader&&) noexcept = default;

bool UpstreamReader::server_splits() const { return impl_->server_splits(); }

Result<UpstreamReader::Read> UpstreamReader::read(std::string_view data) {
    return impl_->read(data);
}

}  // namespace holdfast::upstream
