#include <utility>
#include <variant>

#include "service/gateway/continuation.h"

namespace holdfast::gateway {

namespace {

// Text of one answer, thinking and all.
constexpr std::size_t answer_bytes_max = 8U << 20;

}  // namespace

// A prompt is made and told by servers of one kind.
void ContinueRaw::choose(const upstream::Peer& peer) {
    if (kind_ == peer.kind) return;
    kind_ = peer.kind;
    answer_.reset();
    const chat::Prompt& prompt = request_.generation.prompt;
    if (const auto* text = std::get_if<std::string>(&prompt)) {
        take_prompt({.text = *text});
    } else if (const auto* ids = std::get_if<std::vector<chat::TokenId>>(&prompt)) {
        take_prompt({.text = {}, .ids = *ids});
    }
}

void ContinueRaw::take_prompt(upstream::RawPrompt prompt) {
    const chat::Generation& wanted = request_.generation;
    const bool is_chat = std::holds_alternative<std::vector<chat::Message>>(wanted.prompt);
    answer_.emplace(wanted.stopping, is_chat, std::move(prompt));
}

Guarantee ContinueRaw::guarantee() const {
    return upstream::repeats_exactly(*kind_->raw, request_.generation.sampling)
               ? Guarantee::exact_text
               : Guarantee::same_model;
}

void ContinueRaw::narrow(Need& need) const {
    need.raw = &request_.generation;
    need.kind = kind_;
}

upstream::Call ContinueRaw::call(const fleet::Instance& instance) {
    const chat::Generation& wanted = request_.generation;
    if (!answer_)
        return kind_->raw->render(instance.upstream_model,
                                  std::get<std::vector<chat::Message>>(wanted.prompt));
    return kind_->raw->generate({.model = instance.upstream_model,
                                 .prompt = answer_->prompt(),
                                 .said = answer_->said(),
                                 .said_tokens = answer_->tokens(),
                                 .sampling = wanted.sampling,
                                 .stopping = wanted.stopping,
                                 .logprobs = wanted.logprobs});
}

base::Result<> ContinueRaw::learn(std::string_view body) {
    HF_TRY_ASSIGN(upstream::RawPrompt prompt, kind_->raw->read_rendered(body));
    take_prompt(std::move(prompt));
    return {};
}

base::Result<> ContinueRaw::begin(const fleet::Instance&, const http::Headers&) {
    answer_->begin_attempt();
    events_ = upstream::SseParser();
    return {};
}

// What a server says after an end that was found here is no part of the answer.
base::Result<std::optional<upstream::Reader::Read>> ContinueRaw::next() {
    HF_TRY_ASSIGN(const auto event, events_.next());
    if (!event) return std::nullopt;
    HF_TRY_ASSIGN(upstream::RawPiece piece, kind_->raw->read(event->data));
    upstream::Reader::Read read{.event = {}, .done = piece.done};
    if (answer_->finished() || (piece.done && !piece.finish)) return read;
    const bool ends = piece.finish.has_value();
    bytes_ += piece.text.size();
    if (bytes_ > answer_bytes_max)
        return base::fail(base::Code::corrupt, "the instance generates more than any answer needs");
    HF_TRY_ASSIGN(read.event, answer_->feed(std::move(piece)));
    if (answer_->finished() && !ends) read.done = true;
    return read;
}

}  // namespace holdfast::gateway
