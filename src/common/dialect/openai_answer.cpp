#include "common/dialect/openai_answer.h"

#include <simdjson.h>

#include <charconv>

#include "common/base/assert.h"
#include "common/dialect/openai_error.h"
#include "common/json/writer.h"

namespace holdfast::dialect::openai {

std::string answer_prefix(const AnswerHead& head, std::string_view object) {
    std::string out;
    out.reserve(200 + head.fingerprint.size() + head.id.size() + head.model.size());
    out = R"({"id":)";
    json::append_string(out, head.id);
    out += R"(,"object":")";
    out += object;
    out += R"(","created":)";
    json::append_number(out, head.created);
    out += R"(,"model":)";
    json::append_string(out, head.model);
    out += R"(,"system_fingerprint":)";
    if (head.fingerprint.empty()) {
        out += "null";
    } else {
        json::append_string(out, head.fingerprint);
    }
    out += R"(,"choices":[)";
    return out;
}

void append_usage(std::string& out, const chat::Usage& usage) {
    json::Writer json(out);
    json.begin_object();
    json.number("prompt_tokens", usage.prompt_tokens);
    json.number("completion_tokens", usage.completion_tokens);
    json.number("total_tokens", std::uint64_t{usage.prompt_tokens} + usage.completion_tokens);
    json.key("completion_tokens_details");
    json.begin_object();
    json.number("reasoning_tokens", usage.reasoning_tokens);
    json.end_object();
    json.key("prompt_tokens_details");
    json.begin_object();
    json.number("cached_tokens", usage.cached_tokens);
    json.end_object();
    json.end_object();
}

void append_ids(std::string& out, std::span<const chat::TokenId> ids) {
    out += R"(,"holdfast":{"ids":[)";
    for (std::size_t i = 0; i < ids.size(); ++i) {
        if (i > 0) out += ',';
        json::append_number(out, ids[i]);
    }
    out += "]}";
}

std::string token_text(std::string_view bytes, std::string_view prefix) {
    if (simdjson::validate_utf8(bytes.data(), bytes.size())) return std::string(bytes);
    std::string out(prefix);
    for (const unsigned char byte : bytes) out += fmt::format("\\x{:02x}", byte);
    return out;
}

std::string token_bytes(std::string_view text, std::string_view prefix) {
    if (!text.starts_with(prefix)) return std::string(text);
    std::string out;
    for (std::string_view rest = text.substr(prefix.size()); !rest.empty(); rest.remove_prefix(4)) {
        unsigned char byte = 0;
        if (rest.size() < 4 || !rest.starts_with("\\x")) return std::string(text);
        const char* const digits = rest.data() + 2;
        const auto [end, error] = std::from_chars(digits, digits + 2, byte, 16);
        if (error != std::errc() || end != digits + 2) return std::string(text);
        out += static_cast<char>(byte);
    }
    return out;
}

namespace {

void write_chat_score(json::Writer& json, std::string_view bytes, float logprob) {
    json.string("token", token_text(bytes, chat_bytes_prefix));
    json.number("logprob", logprob);
    json.key("bytes");
    json.begin_array();
    for (const unsigned char byte : bytes) json.number(static_cast<int>(byte));
    json.end_array();
}

std::uint64_t characters(std::string_view text) {
    std::uint64_t count = 0;
    for (const unsigned char byte : text) count += (byte & 0xC0) != 0x80;
    return count;
}

}  // namespace

void append_chat_scores(std::string& out, std::span<const chat::TokenScore> scores) {
    json::Writer json(out);
    json.begin_object();
    json.key("content");
    json.begin_array();
    for (const chat::TokenScore& score : scores) {
        json.begin_object();
        write_chat_score(json, score.bytes, score.logprob);
        json.key("top_logprobs");
        json.begin_array();
        for (const auto& alternative : score.top) {
            json.begin_object();
            write_chat_score(json, alternative.bytes, alternative.logprob);
            json.end_object();
        }
        json.end_array();
        json.end_object();
    }
    json.end_array();
    json.key("refusal");
    json.null();
    json.end_object();
}

void append_completion_scores(std::string& out, std::span<const chat::TokenScore> scores,
                              std::uint64_t& offset) {
    json::Writer json(out);
    json.begin_object();
    json.key("tokens");
    json.begin_array();
    for (const auto& score : scores) {
        json.string(token_text(score.bytes, completions_bytes_prefix));
    }
    json.end_array();
    json.key("token_logprobs");
    json.begin_array();
    for (const auto& score : scores) json.number(score.logprob);
    json.end_array();
    json.key("top_logprobs");
    json.begin_array();
    for (const auto& score : scores) {
        json.begin_object();
        std::string key;
        for (const auto& alternative : score.top) {
            key.clear();
            json::append_escaped(key, token_text(alternative.bytes, completions_bytes_prefix));
            json.number(key, alternative.logprob);
        }
        json.end_object();
    }
    json.end_array();
    json.key("text_offset");
    json.begin_array();
    for (const auto& score : scores) {
        json.number(offset);
        offset += characters(score.bytes);
    }
    json.end_array();
    json.end_object();
}

StreamEncoder::StreamEncoder(const chat::Request& request, const AnswerHead& head,
                             std::string_view object)
    : prefix_("data: " + answer_prefix(head, object)),
      want_ids_(request.presentation.want_ids),
      include_usage_(request.presentation.include_usage),
      begun_(request.generation.choices) {}

void StreamEncoder::event(const chat::Event& event, std::string& out) {
    if (event.usage) usage_ = event.usage;
    HF_ASSERT(event.choice < begun_.size());
    if (!begun_[event.choice]) {
        begun_[event.choice] = true;
        begin(event.choice, out);
    }
    const bool has_text = !event.reasoning.empty() || !event.content.empty();
    // With ids an event stays one chunk, so that a loss can never fall between its parts.
    if (want_ids_) {
        if (!event.ids.empty() || has_text || event.finish) chunk(event, event.finish, out);
        return;
    }
    if (has_text || !event.scores.empty()) chunk(event, std::nullopt, out);
    if (event.finish) {
        open(event.choice, out);
        append_text(out, event.choice, {}, {});
        close(event.finish, {}, out);
    }
}

void StreamEncoder::end(std::string& out) {
    if (include_usage_ && usage_) {
        out += prefix_;
        out += R"(],"usage":)";
        append_usage(out, *usage_);
        out += "}\n\n";
    }
    out += "data: [DONE]\n\n";
}

void StreamEncoder::error(const base::Error& error, std::string& out) {
    out += "data: ";
    out += render_error(error).body;
    out += "\n\n";
}

void StreamEncoder::open(std::uint32_t choice, std::string& out) const {
    out += prefix_;
    out += R"({"index":)";
    json::append_number(out, choice);
    out += ',';
}

void StreamEncoder::close(std::optional<chat::FinishReason> finish,
                          std::span<const chat::TokenId> ids, std::string& out) const {
    if (finish) {
        out += R"(,"finish_reason":")";
        out += name(*finish);
        out += R"("}])";
    } else {
        out += R"(,"finish_reason":null}])";
    }
    if (!ids.empty()) append_ids(out, ids);
    out += "}\n\n";
}

void StreamEncoder::chunk(const chat::Event& event, std::optional<chat::FinishReason> finish,
                          std::string& out) {
    open(event.choice, out);
    append_text(out, event.choice, event.reasoning, event.content);
    if (!event.scores.empty()) {
        out += R"(,"logprobs":)";
        append_scores(out, event.choice, event.scores);
    }
    close(finish, want_ids_ ? event.ids : std::span<const chat::TokenId>(), out);
}

void CollectedChoice::add(const chat::Event& event) {
    reasoning += event.reasoning;
    content += event.content;
    scores.insert(scores.end(), event.scores.begin(), event.scores.end());
    if (event.finish) finish = event.finish;
}

WholeEncoder::WholeEncoder(const chat::Request& request, const AnswerHead& head,
                           std::string_view object)
    : prefix_(answer_prefix(head, object)),
      has_scores_(request.generation.logprobs.has_value()),
      choices_(request.generation.choices) {}

void WholeEncoder::event(const chat::Event& event, std::string&) {
    if (event.usage) usage_ = *event.usage;
    HF_ASSERT(event.choice < choices_.size());
    choices_[event.choice].add(event);
}

void WholeEncoder::end(std::string& out) {
    std::size_t bytes = 512;
    for (const CollectedChoice& choice : choices_)
        bytes += choice.reasoning.size() + choice.content.size() + 128;
    out.reserve(out.size() + bytes);
    out += prefix_;
    json::Writer json(out);
    for (std::size_t index = 0; index < choices_.size(); ++index) write(json, index);
    out += R"(],"usage":)";
    append_usage(out, usage_);
    out += '}';
}

void WholeEncoder::error(const base::Error& error, std::string& out) {
    out += render_error(error).body;
}

void WholeEncoder::write(json::Writer& json, std::size_t index) const {
    const CollectedChoice& choice = choices_[index];
    json.begin_object();
    json.number("index", index);
    write_content(json, choice);
    json.key("logprobs");
    if (has_scores_) {
        std::string scores;
        append_scores(scores, choice);
        json.raw(scores);
    } else {
        json.null();
    }
    json.string("finish_reason", name(choice.finish.value_or(chat::FinishReason::stop)));
    json.end_object();
}

void InlineThinking::append(std::string& out, std::string_view reasoning,
                            std::string_view content) {
    if (!reasoning.empty()) {
        if (state_ == State::before) out += "<think>\n";
        state_ = State::thinking;
        out += reasoning;
    }
    if (!content.empty()) {
        if (state_ == State::thinking) out += "\n</think>\n\n";
        state_ = State::after;
        out += content;
    }
}

}  // namespace holdfast::dialect::openai
