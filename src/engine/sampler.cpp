#include "engine/sampler.h"

#include <algorithm>
#include <limits>

#include "base/assert.h"
#include "base/random.h"
#include "engine/exact_math.h"

namespace holdfast::engine {
namespace {

constexpr float masked = -std::numeric_limits<float>::infinity();

// Lower ids first among equal logits. Positions are ids.
std::size_t argmax(std::span<const float> logits) {
    std::size_t best = 0;
    for (std::size_t id = 1; id < logits.size(); ++id)
        if (logits[id] > logits[best]) best = id;
    return best;
}

double log_sum_exp(std::span<const float> logits, float largest) {
    double sum = 0.0;
    for (const float logit : logits) {
        const double below = static_cast<double>(logit) - largest;
        if (below > -45.0) sum += exact_exp(below);  // less would not change the sum's bits
    }
    return exact_log(sum) + largest;
}

// The `count` largest logits with a token, likeliest first, the lower id first among equals.
std::vector<chat::TokenId> largest_ids(std::span<const float> logits, std::size_t count) {
    std::vector<chat::TokenId> best;
    if (count == 0) return best;
    best.reserve(count + 1);
    for (std::size_t id = 0; id < logits.size(); ++id) {
        const float logit = logits[id];
        if (logit == masked || (best.size() == count && logit <= logits[best.back()])) continue;
        const auto place = std::ranges::find_if(best, [&](auto b) { return logits[b] < logit; });
        best.insert(place, static_cast<chat::TokenId>(id));
        if (best.size() > count) best.pop_back();
    }
    return best;
}

}  // namespace

History::History(const chat::Sampling& sampling, std::span<const chat::TokenId> prompt)
    : active_(sampling.repetition_penalty != 1.0F || sampling.presence_penalty != 0.0F ||
              sampling.frequency_penalty != 0.0F) {
    if (!active_) return;
    for (const chat::TokenId id : prompt) entry(id);
}

void History::add(chat::TokenId generated) {
    if (active_) ++entry(generated).generated;
}

History::Seen& History::entry(chat::TokenId id) {
    const auto [place, is_new] = index_.try_emplace(id, static_cast<std::uint32_t>(seen_.size()));
    if (is_new) seen_.push_back({id, 0});
    return seen_[place->second];
}

Sampler::Sampler(const text::Tokenizer& tokenizer, const model::Shape& shape)
    : tokenizer_(tokenizer), eos_(shape.eos), logits_(shape.vocab) {
    for (std::uint32_t id = 0; id < shape.vocab; ++id)
        if (!tokenizer.exists(static_cast<chat::TokenId>(id)))
            missing_.push_back(static_cast<chat::TokenId>(id));
    candidates_.reserve(shape.vocab);
}

base::Result<Sampler::Draw> Sampler::sample(std::span<const float> row,
                                            const chat::Request& request, const History& history,
                                            std::uint32_t choice, std::uint32_t position) {
    HF_TRY(load(row));
    adjust(request, history, position);
    Draw result;
    result.id = draw(request.sampling, choice, position);
    if (request.logprobs) {
        HF_TRY(load(row));
        result.score = score(result.id, *request.logprobs);
    }
    return result;
}

base::Result<void> Sampler::load(std::span<const float> row) {
    HF_ASSERT(row.size() == logits_.size());
    std::ranges::copy(row, logits_.begin());
    for (const chat::TokenId id : missing_) logits_[static_cast<std::size_t>(id)] = masked;
    bool broken = false;
    for (const float logit : logits_) broken |= !(logit < std::numeric_limits<float>::infinity());
    if (broken || logits_[argmax(logits_)] == masked)
        return base::fail(base::Code::internal, "the model computed logits that are not numbers");
    return {};
}

void Sampler::adjust(const chat::Request& request, const History& history, std::uint32_t position) {
    const chat::Sampling& sampling = request.sampling;
    for (const auto [id, generated] : history.seen()) {
        float& logit = logits_[static_cast<std::size_t>(id)];
        logit =
            logit > 0 ? logit / sampling.repetition_penalty : logit * sampling.repetition_penalty;
        if (generated == 0) continue;
        logit -= sampling.frequency_penalty * static_cast<float>(generated);
        logit -= sampling.presence_penalty;
    }
    for (const auto& [id, bias] : sampling.logit_bias)
        logits_[static_cast<std::size_t>(id)] += bias;
    if (position >= request.stopping.min_tokens) return;
    for (const chat::TokenId id : eos_) logits_[static_cast<std::size_t>(id)] = masked;
    for (const chat::TokenId id : request.stopping.stop_token_ids)
        logits_[static_cast<std::size_t>(id)] = masked;
}

bool Sampler::likelier(const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

chat::TokenId Sampler::draw(const chat::Sampling& sampling, std::uint32_t choice,
                            std::uint32_t position) {
    const std::size_t best = argmax(logits_);
    if (sampling.temperature == 0.0F || logits_[best] == masked)
        return static_cast<chat::TokenId>(best);
    weigh(logits_[best], sampling.temperature);
    if (sampling.top_k > 0) keep_top_k(static_cast<std::size_t>(sampling.top_k));
    if (sampling.top_p < 1.0F) keep_top_p(sampling.top_p);
    if (sampling.min_p > 0.0F)  // the largest weight is 1
        std::erase_if(candidates_, [&](const Candidate& c) { return c.weight < sampling.min_p; });
    double total = 0.0;
    for (const Candidate& candidate : candidates_) total += candidate.weight;
    const double target = total * base::uniform(sampling.seed.value_or(0), choice, position);
    double sum = 0.0;
    for (const Candidate& candidate : candidates_) {
        sum += candidate.weight;
        if (sum > target) return candidate.id;
    }
    return candidates_.back().id;
}

void Sampler::weigh(float largest, float temperature) {
    candidates_.clear();
    for (std::size_t id = 0; id < logits_.size(); ++id) {
        const double exponent = (static_cast<double>(logits_[id]) - largest) / temperature;
        if (exponent >= -32.0)
            candidates_.push_back(
                {logits_[id], static_cast<chat::TokenId>(id), exact_exp(exponent)});
    }
}

void Sampler::keep_top_k(std::size_t k) {
    if (k < candidates_.size()) {
        std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(k),
                         candidates_.end(), likelier);
        candidates_.resize(k);
    }
    std::sort(candidates_.begin(), candidates_.end(), likelier);
}

// Sorts only as far as needed: usually a few dozen candidates hold the share.
void Sampler::keep_top_p(double share) {
    double total = 0.0;
    for (const Candidate& candidate : candidates_) total += candidate.weight;
    const double wanted = total * share;
    double sum = 0.0;
    std::size_t sorted = 0;
    while (sorted < candidates_.size()) {
        const std::size_t end = std::min(candidates_.size(), std::max<std::size_t>(64, sorted * 4));
        const auto at = [&](std::size_t i) {
            return candidates_.begin() + static_cast<std::ptrdiff_t>(i);
        };
        if (end < candidates_.size())
            std::nth_element(at(sorted), at(end), candidates_.end(), likelier);
        std::sort(at(sorted), at(end), likelier);
        for (; sorted < end; ++sorted) {
            sum += candidates_[sorted].weight;
            if (sum >= wanted) return candidates_.resize(sorted + 1);
        }
    }
}

chat::TokenScore Sampler::score(chat::TokenId id, std::uint32_t alternatives) const {
    const double log_sum = log_sum_exp(logits_, logits_[argmax(logits_)]);
    const auto logprob = [&](chat::TokenId of) {
        return static_cast<float>(logits_[static_cast<std::size_t>(of)] - log_sum);
    };
    chat::TokenScore score{id, std::string(tokenizer_.bytes(id)), logprob(id), {}};
    for (const chat::TokenId top : largest_ids(logits_, alternatives))
        score.top.push_back({top, std::string(tokenizer_.bytes(top)), logprob(top)});
    return score;
}

}  // namespace holdfast::engine
