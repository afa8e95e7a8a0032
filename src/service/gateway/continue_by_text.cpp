#include <algorithm>

#include "service/gateway/continuation.h"

namespace holdfast::gateway {

namespace {

// Text of one answer. A journal holds many.
constexpr std::size_t answer_bytes_max = 8U << 20;
// An event brings about one token. Servers may cut a token's text in two, and add some of their
// own.
constexpr std::uint64_t events_per_token = 2, spare_events = 64;

std::unexpected<base::Error> corrupt(std::string what) {
    return std::unexpected(base::Error{base::Code::corrupt, std::move(what), base::Origin::instance,
                                       base::Retry::elsewhere});
}

}  // namespace

// What is left to ask for after a part of the answer has been delivered.
upstream::Call ContinueByText::call(const fleet::Instance& instance) {
    before_ = events_;
    delivered_ = {};
    if (!begun())
        return upstream::encode(request_, instance.peer, instance.upstream_model, delivered_);
    for (const Journal::Text& text : context_.lane.journal.text_events(*context_.entry)) {
        delivered_.reasoning += text.reasoning;
        delivered_.content += text.content;
    }
    delivered_.server_splits = server_splits_;
    chat::Request request = request_;
    if (auto& max_tokens = request.generation.stopping.max_tokens)
        *max_tokens -= std::min(events_, *max_tokens - 1);
    return upstream::encode(request, instance.peer, instance.upstream_model, delivered_);
}

base::Result<> ContinueByText::begin(const fleet::Instance& instance, const http::Headers&) {
    reader_.emplace(instance.peer, request_.generation, delivered_);
    return {};
}

base::Result<> ContinueByText::keep(const chat::Event& event) {
    server_splits_ = server_splits_ || reader_->server_splits();
    if (event.reasoning.empty() && event.content.empty()) return {};
    bytes_ += event.reasoning.size() + event.content.size();
    const auto& max_tokens = request_.generation.stopping.max_tokens;
    const bool too_many =
        max_tokens &&
        events_ >= request_.generation.choices * (events_per_token * *max_tokens + spare_events);
    if (too_many || bytes_ > answer_bytes_max)
        return corrupt("the instance generates more than it was asked for");
    // Nobody goes on with more than one choice.
    if (possible_)
        HF_TRY(context_.lane.journal.append(*context_.entry, context_.record.attempts,
                                            event.reasoning, event.content));
    ++events_;
    return {};
}

// A continuation counts what came before as prompt; the client sees one answer.
chat::Usage ContinueByText::total(const chat::Usage& reported) const {
    chat::Usage usage = reported;
    usage.completion_tokens += before_;
    usage.prompt_tokens -= std::min(usage.prompt_tokens, before_);
    return usage;
}

void ContinueByText::forget() {
    context_.lane.journal.forget(*context_.entry);
    events_ = before_ = 0;
    bytes_ = 0;
}

}  // namespace holdfast::gateway
