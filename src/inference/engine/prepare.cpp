#include "inference/engine/prepare.h"

#include <algorithm>
#include <utility>

#include "common/base/assert.h"

namespace holdfast::engine {
namespace {

using chat::TokenId;

// The dialect has checked these; a value out of range here is a bug there.
void assert_valid(const chat::Generation& request) {
    const chat::Sampling& sampling = request.sampling;
    HF_ASSERT(request.choices >= 1);
    HF_ASSERT(sampling.temperature >= 0.0F && sampling.temperature <= 2.0F);
    HF_ASSERT(sampling.top_p > 0.0F && sampling.top_p <= 1.0F);
    HF_ASSERT(sampling.top_k >= 0);
    HF_ASSERT(sampling.min_p >= 0.0F && sampling.min_p <= 1.0F);
    HF_ASSERT(sampling.repetition_penalty > 0.0F);
    HF_ASSERT(!request.logprobs || *request.logprobs <= 20);
}

std::string_view prompt_field(const chat::Generation& request) {
    return std::holds_alternative<std::vector<chat::Message>>(request.prompt) ? "messages"
                                                                              : "prompt";
}

std::unexpected<base::Error> too_long(const chat::Generation& request, std::uint64_t allowed,
                                      std::uint64_t prompt, std::uint64_t completion,
                                      std::string_view reason) {
    auto error = base::fail_field(
        prompt_field(request),
        "This model's maximum context length is {} tokens{}. However, you requested {} tokens "
        "({} in the prompt, {} for the completion).",
        allowed, reason, prompt + completion, prompt, completion);
    error.error().tag = "context_length_exceeded";
    return error;
}

}  // namespace

Preparer::Preparer(const text::Tokenizer& tokenizer, text::ChatTemplate chat_template,
                   model::Shape shape, std::uint32_t tokens_max)
    : tokenizer_(tokenizer),
      chat_template_(std::move(chat_template)),
      shape_(std::move(shape)),
      cache_tokens_max_(tokens_max) {}

base::Result<std::unique_ptr<Group>> Preparer::prepare(chat::Generation request) const {
    assert_valid(request);
    HF_TRY(check(request));
    HF_TRY_ASSIGN(const std::vector<TokenId> prompt, prompt_ids(request));
    HF_TRY_ASSIGN(const std::uint32_t limit, tokens_max(request, prompt.size()));
    TokenRules rules = token_rules(request, prompt);
    rules.output.tokens_max = limit;

    auto group = std::make_unique<Group>();
    group->request = std::move(request);
    group->prompt_tokens = static_cast<std::uint32_t>(prompt.size());
    group->sequences.reserve(group->request.choices);
    for (std::uint32_t choice = 0; choice < group->request.choices; ++choice) {
        Sequence& sequence = group->sequences.emplace_back(
            *group, choice, TokenState(tokenizer_, group->request.sampling, rules, prompt));
        sequence.ids = prompt;
        HF_TRY(replay(sequence, group->request));
        if (sequence.state.output().finish()) {
            sequence.phase = Phase::finished;
            continue;
        }
        sequence.cache_keys = block_keys(sequence.ids);
        ++group->unfinished;
    }
    return group;
}

bool Preparer::exists(TokenId id) const {
    return id >= 0 && std::cmp_less(id, shape_.vocab) && tokenizer_.exists(id);
}

base::Result<void> Preparer::check(const chat::Generation& request) const {
    if (request.echo && std::holds_alternative<std::vector<chat::Message>>(request.prompt))
        return base::fail_field("echo", "echo needs a prompt of text or token ids");
    if (request.echo && request.logprobs)
        return base::fail_field("echo",
                                "echo cannot be combined with log probabilities: those "
                                "of prompt tokens are not computed");
    for (const auto& [id, bias] : request.sampling.logit_bias)
        if (!exists(id)) return base::fail_field("logit_bias", "token id {} does not exist", id);
    for (const TokenId id : request.stopping.stop_token_ids)
        if (!exists(id))
            return base::fail_field("stop_token_ids", "token id {} does not exist", id);
    if (!request.resume) return {};
    if (request.resume->ids.size() > request.choices)
        return base::fail_field("holdfast.resume", "ids of {} choices, but the request has {}",
                                request.resume->ids.size(), request.choices);
    for (const std::vector<TokenId>& ids : request.resume->ids)
        for (const TokenId id : ids)
            if (!exists(id))
                return base::fail_field("holdfast.resume", "token id {} does not exist", id);
    return {};
}

base::Result<std::vector<TokenId>> Preparer::prompt_ids(const chat::Generation& request) const {
    std::vector<TokenId> ids;
    if (const auto* messages = std::get_if<std::vector<chat::Message>>(&request.prompt)) {
        ids = tokenizer_.encode(chat_template_.render(*messages));
    } else if (const auto* text = std::get_if<std::string>(&request.prompt)) {
        ids = tokenizer_.encode(*text);
        tokenizer_.begin(ids);
    } else {
        ids = std::get<std::vector<TokenId>>(request.prompt);
        for (const TokenId id : ids)
            if (!exists(id)) return base::fail_field("prompt", "token id {} does not exist", id);
    }
    if (ids.empty()) return base::fail_field(prompt_field(request), "the prompt is empty");
    return ids;
}

base::Result<std::uint32_t> Preparer::tokens_max(const chat::Generation& request,
                                                 std::size_t prompt_tokens) const {
    const std::optional<std::uint32_t> wanted = request.stopping.max_tokens;
    if (wanted == 0U) return base::fail_field("max_tokens", "must be at least 1");
    const std::uint64_t at_least = prompt_tokens + wanted.value_or(1);
    if (at_least > shape_.context)
        return too_long(request, shape_.context, prompt_tokens, wanted.value_or(1), "");
    if (at_least > cache_tokens_max_)
        return too_long(request, cache_tokens_max_, prompt_tokens, wanted.value_or(1),
                        " on this server, limited by its KV capacity");
    if (wanted) return *wanted;
    return std::min(shape_.context, cache_tokens_max_) - static_cast<std::uint32_t>(prompt_tokens);
}

TokenRules Preparer::token_rules(const chat::Generation& request,
                                 std::span<const TokenId> prompt) const {
    const chat::Stopping& stopping = request.stopping;
    TokenRules rules{.output = output_rules(request, prompt), .late_ids = shape_.eos};
    rules.late_ids.insert(rules.late_ids.end(), stopping.stop_token_ids.begin(),
                          stopping.stop_token_ids.end());
    rules.output.end_ids = stopping.ignore_eos ? stopping.stop_token_ids : rules.late_ids;
    return rules;
}

OutputRules Preparer::output_rules(const chat::Generation& request,
                                   std::span<const TokenId> prompt) const {
    OutputRules rules;
    rules.stop = request.stopping.stop;
    rules.stop_in_reasoning = request.stopping.stop_in_reasoning;
    rules.min_tokens = request.stopping.min_tokens;
    if (const auto* messages = std::get_if<std::vector<chat::Message>>(&request.prompt)) {
        rules.splits_reasoning = true;
        rules.starts_thinking = chat_template_.opens_thinking(*messages);
    }
    if (!request.echo) return rules;
    if (const auto* text = std::get_if<std::string>(&request.prompt)) {
        rules.echo = *text;
        return rules;
    }
    text::Detokenizer detokenizer(tokenizer_);
    for (const TokenId id : prompt) rules.echo += detokenizer.feed(id);
    rules.echo += detokenizer.flush();
    return rules;
}

base::Result<void> Preparer::replay(Sequence& sequence, const chat::Generation& request) const {
    if (!request.resume || sequence.choice >= request.resume->ids.size()) return {};
    const std::vector<TokenId>& ids = request.resume->ids[sequence.choice];
    if (!sequence.state.replay(ids))
        return base::fail_field("holdfast.resume",
                                "choice {} ended after {} tokens, but {} were given",
                                sequence.choice, sequence.state.output().tokens(), ids.size());
    sequence.ids.insert(sequence.ids.end(), ids.begin(), ids.end());
    return {};
}

}  // namespace holdfast::engine
