#include "tools/scripted_instance/script.h"

#include <algorithm>
#include <charconv>

#include "common/dialect/dialect.h"

namespace holdfast::scripted_instance {
namespace {

constexpr std::uint32_t events_max = 100'000;
constexpr std::uint32_t event_bytes_max = 1 << 20;
constexpr std::uint32_t script_bytes_max = 64 << 20;
constexpr std::uint32_t pause_us_max = 10'000'000;
constexpr chat::TokenId first_id = 1000;

base::Result<> read_number(std::string_view text, std::uint32_t max, std::uint32_t& target) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), target);
    if (error == std::errc() && end == text.data() + text.size() && target <= max) return {};
    return base::fail_field("user", "user: \"{}\" is no number up to {}.", text, max);
}

base::Result<> read_word(std::string_view word, Ask& ask) {
    const std::size_t equals = word.find('=');
    const std::string_view name = word.substr(0, equals);
    const std::string_view value =
        equals == std::string_view::npos ? std::string_view() : word.substr(equals + 1);
    if (name == "event_bytes") return read_number(value, event_bytes_max, ask.event_bytes);
    if (name == "pause_us") return read_number(value, pause_us_max, ask.pause_us);
    return base::fail_field("user", "user: \"{}\" is no part of a script.", name);
}

chat::Event event_of(const Ask& ask, std::uint32_t index) {
    chat::Event event;
    event.ids.push_back(first_id + static_cast<chat::TokenId>(index % 1000));
    event.content.assign(ask.event_bytes, static_cast<char>('a' + index % 26));
    if (!event.content.empty()) event.content.front() = ' ';
    if (index + 1 == ask.events) {
        event.finish = chat::FinishReason::length;
        event.usage = chat::Usage{.prompt_tokens = 10, .completion_tokens = ask.events};
    }
    return event;
}

Script write_script(const Ask& ask) {
    chat::Request request;
    request.model = model_name;
    request.presentation.want_ids = ask.want_ids;
    request.presentation.include_usage = ask.want_usage;
    const dialect::Dialect& dialect = *dialect::find("POST", "/v1/chat/completions").dialect;
    const dialect::AnswerHead head{"chatcmpl-000102030405060708090a0b", 1'760'000'000,
                                   std::string(model_name)};
    const auto whole = dialect.make_encoder(request, head);
    request.presentation.stream = true;
    const auto stream = dialect.make_encoder(request, head);
    Script script;
    for (std::uint32_t index = 0; index < ask.events; ++index) {
        const chat::Event event = event_of(ask, index);
        stream->event(event, script.events.emplace_back());
        whole->event(event, script.whole);
    }
    stream->end(script.events.back());
    whole->end(script.whole);
    return script;
}

}  // namespace

base::Result<Ask> read_ask(const chat::Request& request) {
    if (request.model != model_name)
        return base::fail_field("model", "The model `{}` does not exist.", request.model);
    Ask ask{.events = request.generation.stopping.max_tokens.value_or(1),
            .want_ids = request.presentation.want_ids,
            .want_usage = request.presentation.include_usage};
    for (std::string_view rest = request.user; !rest.empty();) {
        const std::size_t end = std::min(rest.find(' '), rest.size());
        HF_TRY(read_word(rest.substr(0, end), ask));
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    if (ask.events == 0 || ask.events > events_max ||
        std::uint64_t{ask.events} * ask.event_bytes > script_bytes_max)
        return base::fail_field("max_tokens", "max_tokens: the answer would be too long.");
    return ask;
}

std::shared_ptr<const Script> Scripts::of(const Ask& ask) {
    Ask key = ask;
    key.pause_us = 0;  // says when, not what
    if (const auto known = scripts_.find(key); known != scripts_.end()) return known->second;
    if (scripts_.size() >= scripts_max) scripts_.clear();
    return scripts_[key] = std::make_shared<const Script>(write_script(key));
}

}  // namespace holdfast::scripted_instance
