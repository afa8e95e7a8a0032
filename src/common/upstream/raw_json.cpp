#include "common/upstream/raw_json.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/random.h"
#include "common/upstream/error.h"

namespace holdfast::upstream::raw_json {

namespace dom = simdjson::dom;
using base::Result;

namespace {

constexpr std::size_t shared_bytes_max = 64 * 1024;

dom::parser& shared_parser() {
    thread_local dom::parser parser;
    return parser;
}

std::string_view role_name(chat::Role role) {
    constexpr std::string_view names[] = {"system", "user", "assistant", "tool"};
    return names[static_cast<std::size_t>(role)];
}

Result<> read_tops(const dom::element& from, chat::TokenScore& score) {
    dom::object top;
    if (from.get(top) != simdjson::SUCCESS) return {};
    for (const auto& [token, value] : top) {
        if (score.top.size() == alternatives_max) break;
        double logprob = 0;
        if (value.get(logprob) != simdjson::SUCCESS)
            return corrupt("has strange log probabilities");
        score.top.push_back({0, std::string(token), static_cast<float>(logprob)});
    }
    std::ranges::sort(score.top, [](const auto& left, const auto& right) {
        return left.logprob != right.logprob ? left.logprob > right.logprob
                                             : left.bytes < right.bytes;
    });
    return {};
}

}  // namespace

std::unexpected<base::Error> corrupt(std::string_view what) {
    return std::unexpected(base::Error{base::Code::corrupt,
                                       fmt::format("What the instance sent {}.", what),
                                       base::Origin::instance, base::Retry::elsewhere});
}

std::unexpected<base::Error> gave_up() {
    return std::unexpected(base::Error{base::Code::unavailable, "The instance gave the answer up.",
                                       base::Origin::instance, base::Retry::elsewhere});
}

void write_messages(json::Writer& json, std::span<const chat::Message> messages) {
    json.key("messages");
    json.begin_array();
    for (const chat::Message& message : messages) {
        json.begin_object();
        json.string("role", role_name(message.role));
        json.string("content", message.content);
        if (!message.reasoning.empty()) json.string("reasoning_content", message.reasoning);
        json.end_object();
    }
    json.end_array();
}

std::size_t body_bytes(const RawAsk& ask) {
    constexpr std::size_t id_bytes = 7;
    return 512 + ask.prompt.text.size() + id_bytes * (ask.prompt.ids.size() + ask.said_tokens);
}

std::optional<std::uint32_t> tokens_left(const RawAsk& ask) {
    std::optional<std::uint32_t> most = ask.stopping.max_tokens;
    const auto prompt = static_cast<std::uint32_t>(ask.prompt.ids.size());
    if (!most && ask.prompt.context > prompt) most = ask.prompt.context - prompt;
    if (!most) return most;
    return *most > ask.said_tokens ? *most - ask.said_tokens : 1;
}

std::optional<std::uint64_t> seed(const RawAsk& ask) {
    if (!ask.sampling.seed || ask.said_tokens == 0) return ask.sampling.seed;
    const std::uint64_t from = *ask.sampling.seed;
    const auto made =
        base::philox({ask.said_tokens, 0, 0, 0},
                     {static_cast<std::uint32_t>(from), static_cast<std::uint32_t>(from >> 32)});
    return std::uint64_t{made[0]} << 32 | made[1];
}

Parsed::Parsed(std::string_view data) : data_(data) {
    dom::parser& parser = data.size() <= shared_bytes_max ? shared_parser() : own_.emplace();
    parsed_ = parser.parse(data.data(), data.size());
}

Result<dom::element> Parsed::root() const {
    dom::element root;
    if (parsed_.get(root) != simdjson::SUCCESS || !root.is_object())
        return corrupt("is no JSON object");
    dom::element error;
    if (root["error"].get(error) == simdjson::SUCCESS && !error.is_null())
        return std::unexpected(read_stream_error(data_));
    return root;
}

Result<> read_text(Member member, std::string& text) {
    dom::element value;
    if (member.get(value) != simdjson::SUCCESS || value.is_null()) return {};
    std::string_view found;
    if (value.get(found) != simdjson::SUCCESS) return corrupt("holds no text");
    text = found;
    return {};
}

Result<std::uint32_t> read_count(Member member) {
    dom::element value;
    if (member.get(value) != simdjson::SUCCESS || value.is_null()) return 0U;
    std::uint64_t count = 0;
    if (value.get(count) != simdjson::SUCCESS || count > count_max)
        return corrupt("counts what cannot be");
    return static_cast<std::uint32_t>(count);
}

Result<> read_completion_scores(Member member, RawPiece& piece) {
    dom::element value;
    if (member.get(value) != simdjson::SUCCESS || value.is_null()) return {};
    dom::array tokens;
    dom::array logprobs;
    if (value["tokens"].get(tokens) != simdjson::SUCCESS ||
        value["token_logprobs"].get(logprobs) != simdjson::SUCCESS)
        return corrupt("has strange log probabilities");
    auto logprob = logprobs.begin();
    for (const dom::element& token : tokens) {
        std::string_view text;
        double number = 0;
        if (token.get(text) != simdjson::SUCCESS || logprob == logprobs.end() ||
            (*logprob).get(number) != simdjson::SUCCESS)
            return corrupt("has strange log probabilities");
        ++logprob;
        const std::size_t index = piece.scores.size();
        const chat::TokenId id = index < piece.ids.size() ? piece.ids[index] : 0;
        piece.scores.push_back({id, std::string(text), static_cast<float>(number), {}});
    }
    dom::array tops;
    if (value["top_logprobs"].get(tops) != simdjson::SUCCESS) return {};
    std::size_t index = 0;
    for (const dom::element& top : tops)
        if (index < piece.scores.size()) HF_TRY(read_tops(top, piece.scores[index++]));
    return {};
}

}  // namespace holdfast::upstream::raw_json
