#include "common/upstream/upstream.h"

#include <algorithm>
#include <array>

#include "common/json/writer.h"

namespace holdfast::upstream {
namespace {

constexpr std::array<std::pair<std::string_view, InstanceKind>, 4> kinds{{
    {"holdfast", InstanceKind::holdfast},
    {"vllm", InstanceKind::vllm},
    {"llama-server", InstanceKind::llama_server},
    {"openai", InstanceKind::openai},
}};

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
    CallWriter(const chat::Request& request, InstanceKind kind, const Delivered& delivered,
               std::string& out)
        : request_(request), kind_(kind), delivered_(delivered), json_(out) {}

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
        if (kind_ == InstanceKind::holdfast) write_extension();
        json_.end_object();
    }

private:
    bool is_chat() const {
        return std::holds_alternative<std::vector<chat::Message>>(request_.prompt);
    }

    void write_prompt() {
        if (const auto* messages = std::get_if<std::vector<chat::Message>>(&request_.prompt)) {
            write_messages(*messages);
        } else if (const auto* text = std::get_if<std::string>(&request_.prompt)) {
            json_.string("prompt", prompt_text(*text));
        } else {
            json_.key("prompt");
            write_ids(std::get<std::vector<chat::TokenId>>(request_.prompt));
        }
    }

    // Other servers go on from a longer prompt. After an echo the prompt is part of what was
    // delivered, and must not be echoed again.
    std::string prompt_text(const std::string& text) const {
        if (!goes_on()) return text;
        return request_.echo ? delivered_.content : text + delivered_.content;
    }

    bool goes_on() const { return kind_ != InstanceKind::holdfast && delivered_.any(); }

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
        if (goes_on()) write_message("assistant", beginning(), {});
        json_.end_array();
        if (!goes_on()) return;
        if (kind_ == InstanceKind::vllm) {
            json_.boolean("continue_final_message", true);
            json_.boolean("add_generation_prompt", false);
        } else if (kind_ == InstanceKind::llama_server) {
            // The server refuses to continue an answer unless it is told that thinking is off.
            json_.key("chat_template_kwargs");
            json_.begin_object();
            json_.boolean("enable_thinking", false);
            json_.end_object();
        }
    }

    // The delivered text as the beginning of the assistant's message.
    std::string beginning() const {
        // llama-server appends it to the generation prompt, which has opened <think> already.
        if (kind_ == InstanceKind::llama_server) {
            if (delivered_.content.empty()) return delivered_.reasoning;
            return delivered_.reasoning + "\n</think>\n\n" + delivered_.content;
        }
        // vLLM renders it through the template, which drops everything up to </think> and then
        // refuses to continue a message that it cannot find: the thinking has to stay away.
        if (!delivered_.content.empty()) return delivered_.content;
        return "<think>\n" + delivered_.reasoning;
    }

    void write_sampling() {
        const chat::Sampling& sampling = request_.sampling;
        // Always written: servers have defaults of their own.
        json_.number("temperature", sampling.temperature);
        json_.number("top_p", sampling.top_p);
        const bool is_llama = kind_ == InstanceKind::llama_server;
        if (sampling.top_k != 0 || is_llama) json_.number("top_k", sampling.top_k);
        if (sampling.min_p != 0 || is_llama) json_.number("min_p", sampling.min_p);
        if (sampling.repetition_penalty != 1 || is_llama) {
            json_.number(is_llama ? "repeat_penalty" : "repetition_penalty",
                         sampling.repetition_penalty);
        }
        if (sampling.presence_penalty != 0) {
            json_.number("presence_penalty", sampling.presence_penalty);
        }
        if (sampling.frequency_penalty != 0) {
            json_.number("frequency_penalty", sampling.frequency_penalty);
        }
        if (sampling.seed) json_.number("seed", upstream_seed(*sampling.seed));
        if (!sampling.logit_bias.empty()) write_logit_bias();
    }

    // Other servers take fewer bits; equal seeds stay equal.
    std::uint64_t upstream_seed(std::uint64_t seed) const {
        switch (kind_) {
            case InstanceKind::holdfast:
                return seed;
            case InstanceKind::llama_server:
                return seed & 0x7FFF'FFFFU;
            case InstanceKind::vllm:
            case InstanceKind::openai:
                return seed & 0x7FFF'FFFF'FFFF'FFFFU;
        }
        std::unreachable();
    }

    void write_logit_bias() {
        json_.key("logit_bias");
        if (kind_ == InstanceKind::llama_server) {
            json_.begin_array();
            for (const auto& [id, bias] : request_.sampling.logit_bias) {
                json_.begin_array();
                json_.number(id);
                json_.number(bias);
                json_.end_array();
            }
            json_.end_array();
            return;
        }
        json_.begin_object();
        for (const auto& [id, bias] : request_.sampling.logit_bias) {
            json_.number(std::to_string(id), bias);
        }
        json_.end_object();
    }

    void write_stopping() {
        const chat::Stopping& stopping = request_.stopping;
        if (stopping.max_tokens) json_.number("max_tokens", *stopping.max_tokens);
        if (stopping.min_tokens > 0) json_.number("min_tokens", stopping.min_tokens);
        if (stopping.ignore_eos) json_.boolean("ignore_eos", true);
        if (!stopping.stop.empty()) {
            json_.key("stop");
            json_.begin_array();
            for (const std::string& stop : stopping.stop) json_.string(stop);
            json_.end_array();
        }
        if (stopping.stop_in_reasoning && kind_ == InstanceKind::holdfast)
            json_.boolean("stop_in_reasoning", true);
        if (!stopping.stop_token_ids.empty()) {
            json_.key("stop_token_ids");
            write_ids(stopping.stop_token_ids);
        }
    }

    void write_output() {
        if (request_.choices != 1) json_.number("n", request_.choices);
        if (request_.logprobs) {
            if (is_chat()) {
                json_.boolean("logprobs", true);
                json_.number("top_logprobs", *request_.logprobs);
            } else {
                json_.number("logprobs", *request_.logprobs);
            }
        }
        if (request_.echo && !goes_on()) json_.boolean("echo", true);
        if (!request_.user.empty()) json_.string("user", request_.user);
    }

    void write_extension() {
        json_.key("holdfast");
        json_.begin_object();
        json_.boolean("ids", true);
        if (request_.resume) {
            json_.key("resume");
            json_.begin_array();
            for (const auto& ids : request_.resume->ids) write_ids(ids);
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
    InstanceKind kind_;
    const Delivered& delivered_;
    json::Writer json_;
};

}  // namespace

base::Result<InstanceKind> parse_instance_kind(std::string_view text) {
    for (const auto& [name, kind] : kinds) {
        if (name == text) return kind;
    }
    return base::fail(base::Code::invalid,
                      "\"{}\" is no kind of instance; there are holdfast, vllm, llama-server and "
                      "openai.",
                      text);
}

std::string_view name(InstanceKind kind) {
    return std::ranges::find(kinds, kind, &decltype(kinds)::value_type::second)->first;
}

namespace {

// About, for setting memory aside: escapes may add some.
std::size_t prompt_bytes(const chat::Request& request) {
    if (const auto* text = std::get_if<std::string>(&request.prompt)) return text->size();
    if (const auto* ids = std::get_if<std::vector<chat::TokenId>>(&request.prompt))
        return ids->size() * 7;
    std::size_t bytes = 0;
    for (const chat::Message& message : std::get<std::vector<chat::Message>>(request.prompt))
        bytes += message.content.size() + message.reasoning.size() + 64;
    return bytes;
}

}  // namespace

UpstreamCall encode_upstream(const chat::Request& request, InstanceKind kind,
                             std::string_view upstream_model, const Delivered& delivered) {
    const bool is_chat = std::holds_alternative<std::vector<chat::Message>>(request.prompt);
    UpstreamCall call{is_chat ? "/v1/chat/completions" : "/v1/completions", {}};
    call.body.reserve(prompt_bytes(request) + 512);
    CallWriter(request, kind, delivered, call.body).write(upstream_model);
    return call;
}

bool can_continue(InstanceKind kind, const chat::Request& request) {
    if (kind == InstanceKind::holdfast) return true;
    if (request.choices != 1) return false;
    if (std::holds_alternative<std::string>(request.prompt)) return true;
    return std::holds_alternative<std::vector<chat::Message>>(request.prompt) &&
           kind != InstanceKind::openai;
}

}  // namespace holdfast::upstream
