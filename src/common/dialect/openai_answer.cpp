#include "common/dialect/openai_answer.h"

#include <charconv>

#include "common/base/utf8.h"
#include "common/json/writer.h"

namespace holdfast::dialect::openai {

std::string answer_prefix(const AnswerHead& head, std::string_view object) {
    std::string out;
    out.reserve(160 + head.id.size() + head.model.size());
    out = R"({"id":)";
    json::append_string(out, head.id);
    out += R"(,"object":")";
    out += object;
    out += R"(","created":)";
    json::append_number(out, head.created);
    out += R"(,"model":)";
    json::append_string(out, head.model);
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

void append_error_event(std::string& out, const base::Error& error) {
    out += "data: ";
    out += openai_error(error).body;
    out += "\n\n";
}

void append_usage_chunk(std::string& out, std::string_view prefix, const chat::Usage& usage) {
    out += prefix;
    out += R"(],"usage":)";
    append_usage(out, usage);
    out += "}\n\n";
}

std::string token_text(std::string_view bytes, std::string_view prefix) {
    if (base::is_utf8(bytes)) return std::string(bytes);
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

void CollectedChoice::add(const chat::Event& event) {
    reasoning += event.reasoning;
    content += event.content;
    scores.insert(scores.end(), event.scores.begin(), event.scores.end());
    if (event.finish) finish = event.finish;
}

WholeEncoder::WholeEncoder(const chat::Request& request, const AnswerHead& head,
                           std::string_view object)
    : prefix_(answer_prefix(head, object)),
      has_scores_(request.logprobs.has_value()),
      choices_(request.choices) {}

void WholeEncoder::event(const chat::Event& event, std::string&) {
    if (event.usage) usage_ = *event.usage;
    if (event.choice < choices_.size()) choices_[event.choice].add(event);
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
    out += openai_error(error).body;
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
