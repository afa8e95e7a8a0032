#include "common/upstream/call.h"

#include <utility>

#include "common/json/writer.h"

namespace holdfast::upstream {
namespace {

std::string_view role_name(chat::Role role) {
    switch (role) {
        case chat::Role::system:
            return "system";
        case chat::Role::user:
            return "user";
        case chat::Role::assistant:
            return "assistant";
        case chat::Role::tool:
            return "tool";
    }
    std::unreachable();
}

// Writes one request body; the members' order follows the functions below.
class CallWriter {
public:
    CallWriter(const chat::Request& request, const Peer& peer, const Delivered& delivered,
               std::string& out)
        : request_(request),
          generation_(request.generation),
          kind_(*peer.kind),
          delivered_(delivered),
          goes_on_(!peer.offer.continues_ids && delivered.any()),
          json_(out) {}

    void write(std::string_view upstream_model) {
        json_.begin_object();
        json_.string("model", upstream_model);
        write_prompt();
        json_.boolean("stream", true);
        json_.key("stream_options");
        json_.begin_object();
        json_.boolean("include_usage", true);
        json_.end_object();
        write_sampling();
        write_stopping();
        write_output();
        if (kind_.extended) write_extension();
        json_.end_object();
    }

private:
    bool is_chat() const {
        return std::holds_alternative<std::vector<chat::Message>>(generation_.prompt);
    }

    void write_prompt() {
        if (const auto* messages = std::get_if<std::vector<chat::Message>>(&generation_.prompt)) {
            write_messages(*messages);
        } else if (const auto* text = std::get_if<std::string>(&generation_.prompt)) {
            json_.string("prompt", prompt_text(*text));
        } else {
            json_.key("prompt");
            write_ids(std::get<std::vector<chat::TokenId>>(generation_.prompt));
        }
    }

    // Other servers go on from a longer prompt. After an echo the prompt is part of what was
    // delivered, and must not be echoed again.
    std::string prompt_text(const std::string& text) const {
        if (!goes_on_) return text;
        return generation_.echo ? delivered_.content : text + delivered_.content;
    }

    void write_message(std::string_view role, std::string_view content,
                       std::string_view reasoning) {
        json_.begin_object();
        json_.string("role", role);
        json_.string("content", content);
        if (!reasoning.empty()) json_.string("reasoning_content", reasoning);
        json_.end_object();
    }

    void write_messages(const std::vector<chat::Message>& messages) {
        json_.key("messages");
        json_.begin_array();
        for (const chat::Message& message : messages) {
            write_message(role_name(message.role), message.content, message.reasoning);
        }
        json_.end_array();
    }

    void write_sampling() {
        const chat::Sampling& sampling = generation_.sampling;
        // Always written: servers have defaults of their own. A seed of fewer bits is as good, as
        // long as equal ones stay equal.
        json_.number("temperature", sampling.temperature);
        json_.number("top_p", sampling.top_p);
        const bool always = kind_.words.has_own_defaults;
        if (sampling.top_k != 0 || always) json_.number("top_k", sampling.top_k);
        if (sampling.min_p != 0 || always) json_.number("min_p", sampling.min_p);
        if (sampling.repetition_penalty != 1 || always)
            json_.number(kind_.words.repetition_penalty, sampling.repetition_penalty);
        if (sampling.presence_penalty != 0) {
            json_.number("presence_penalty", sampling.presence_penalty);
        }
        if (sampling.frequency_penalty != 0) {
            json_.number("frequency_penalty", sampling.frequency_penalty);
        }
        if (sampling.seed) json_.number("seed", *sampling.seed & kind_.words.seed_max);
        if (!sampling.logit_bias.empty()) write_logit_bias();
    }

    void write_logit_bias() {
        json_.key("logit_bias");
        if (kind_.words.logit_bias_is_list) {
            json_.begin_array();
            for (const auto& [id, bias] : generation_.sampling.logit_bias) {
                json_.begin_array();
                json_.number(id);
                json_.number(bias);
                json_.end_array();
            }
            json_.end_array();
            return;
        }
        json_.begin_object();
        for (const auto& [id, bias] : generation_.sampling.logit_bias) {
            json_.number(std::to_string(id), bias);
        }
        json_.end_object();
    }

    void write_stopping() {
        const chat::Stopping& stopping = generation_.stopping;
        if (stopping.max_tokens) json_.number("max_tokens", *stopping.max_tokens);
        if (stopping.min_tokens > 0) json_.number("min_tokens", stopping.min_tokens);
        if (stopping.ignore_eos) json_.boolean("ignore_eos", true);
        if (!stopping.stop.empty()) {
            json_.key("stop");
            json_.begin_array();
            for (const std::string& stop : stopping.stop) json_.string(stop);
            json_.end_array();
        }
        if (stopping.stop_in_reasoning && kind_.extended)
            json_.boolean("stop_in_reasoning", true);
        if (!stopping.stop_token_ids.empty()) {
            json_.key("stop_token_ids");
            write_ids(stopping.stop_token_ids);
        }
    }

    void write_output() {
        if (generation_.choices != 1) json_.number("n", generation_.choices);
        if (generation_.logprobs) {
            if (is_chat()) {
                json_.boolean("logprobs", true);
                json_.number("top_logprobs", *generation_.logprobs);
            } else {
                json_.number("logprobs", *generation_.logprobs);
            }
        }
        if (generation_.echo && !goes_on_) json_.boolean("echo", true);
        if (!request_.user.empty()) json_.string("user", request_.user);
    }

    void write_extension() {
        json_.key("holdfast");
        json_.begin_object();
        json_.boolean("ids", true);
        if (generation_.resume) {
            json_.key("resume");
            json_.begin_array();
            for (const auto& ids : generation_.resume->ids) write_ids(ids);
            json_.end_array();
        }
        json_.end_object();
    }

    void write_ids(const std::vector<chat::TokenId>& ids) {
        json_.begin_array();
        for (const chat::TokenId id : ids) json_.number(id);
        json_.end_array();
    }

    const chat::Request& request_;
    const chat::Generation& generation_;
    const Kind& kind_;
    const Delivered& delivered_;
    bool goes_on_;
    json::Writer json_;
};

// About, for setting memory aside: escapes may add some.
std::size_t prompt_bytes(const chat::Prompt& prompt) {
    if (const auto* text = std::get_if<std::string>(&prompt)) return text->size();
    if (const auto* ids = std::get_if<std::vector<chat::TokenId>>(&prompt)) return ids->size() * 7;
    std::size_t bytes = 0;
    for (const chat::Message& message : std::get<std::vector<chat::Message>>(prompt))
        bytes += message.content.size() + message.reasoning.size() + 64;
    return bytes;
}

}  // namespace

Call encode(const chat::Request& request, const Peer& peer, std::string_view model,
            const Delivered& delivered) {
    const chat::Prompt& prompt = request.generation.prompt;
    const bool is_chat = std::holds_alternative<std::vector<chat::Message>>(prompt);
    Call call{is_chat ? "/v1/chat/completions" : "/v1/completions", {}};
    call.body.reserve(prompt_bytes(prompt) + 512);
    CallWriter(request, peer, delivered, call.body).write(model);
    return call;
}

bool can_continue(const Peer& peer, const chat::Generation& generation) {
    if (peer.offer.continues_ids) return true;
    if (generation.choices != 1) return false;
    return std::holds_alternative<std::string>(generation.prompt) && peer.offer.continues_text;
}

}  // namespace holdfast::upstream
