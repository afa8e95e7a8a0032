#include "inference/engine/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "common/base/assert.h"
#include "common/base/random.h"
#include "inference/engine/exact_math.h"

namespace holdfast::engine {
namespace {

constexpr float masked = -std::numeric_limits<float>::infinity();

}  // namespace

Sampler::Sampler(const text::Tokenizer& tokenizer, const model::Shape& shape)
    : tokenizer_(tokenizer), adjusted_(shape.vocab), scratch_(shape.vocab) {
    for (std::uint32_t id = 0; id < shape.vocab; ++id) {
        if (!tokenizer.exists(static_cast<chat::TokenId>(id))) continue;
        if (ranges_.empty() || ranges_.back().end != id) ranges_.push_back({id, id});
        ranges_.back().end = id + 1;
    }
}

base::Result<Sampler::Draw> Sampler::sample(std::span<const float> row,
                                            const chat::Request& request, std::uint32_t choice,
                                            const TokenState& state) {
    HF_ASSERT(row.size() == adjusted_.size());
    const RowScan raw = scan_tokens(row);
    if (!raw.valid)
        return base::fail(base::Code::internal, "the model computed logits that are not numbers");
    Draw result;
    const std::uint32_t position = state.output().tokens();
    const bool adjusts =
        !state.history().seen().empty() || !request.sampling.logit_bias.empty() || state.masks();
    if (adjusts) {
        std::ranges::copy(row, adjusted_.begin());
        adjust(request.sampling, state);
        HF_TRY_ASSIGN(result.id, draw(adjusted_, scan_tokens(adjusted_).largest, request.sampling,
                                      choice, position));
    } else {
        HF_TRY_ASSIGN(result.id, draw(row, raw.largest, request.sampling, choice, position));
    }
    if (request.logprobs) result.score = score(row, raw.largest, result.id, *request.logprobs);
    return result;
}

RowScan Sampler::scan_tokens(std::span<const float> row) const {
    RowScan all = scan({});
    for (const Range& range : ranges_) {
        const RowScan one = scan(range.of(row));
        all.largest = std::max(all.largest, one.largest);
        all.valid &= one.valid;
    }
    return all;
}

void Sampler::adjust(const chat::Sampling& sampling, const TokenState& state) {
    for (const auto [id, generated] : state.history().seen()) {
        float& logit = adjusted_[static_cast<std::size_t>(id)];
        logit =
            logit > 0 ? logit / sampling.repetition_penalty : logit * sampling.repetition_penalty;
        if (generated == 0) continue;
        logit -= sampling.frequency_penalty * static_cast<float>(generated);
        logit -= sampling.presence_penalty;
    }
    for (const auto& [id, bias] : sampling.logit_bias)
        adjusted_[static_cast<std::size_t>(id)] += bias;
    if (state.masks()) state.mask(adjusted_);
}

bool Sampler::likelier(const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

base::Result<chat::TokenId> Sampler::draw(std::span<const float> row, float largest,
                                          const chat::Sampling& sampling, std::uint32_t choice,
                                          std::uint32_t position) {
    if (largest == masked)
        return base::fail(base::Code::internal, "the model leaves no token to choose from");
    if (sampling.temperature == 0.0F) return first_id(row, largest);
    collect_candidates(row, largest, sampling.temperature);
    if (sampling.top_k > 0) keep_top_k(static_cast<std::size_t>(sampling.top_k));
    weigh(largest, sampling.temperature);
    if (sampling.top_p < 1.0F) keep_top_p(sampling.top_p);
    if (sampling.min_p > 0.0F)  // the largest weight is 1
        keep_first(static_cast<std::size_t>(
            std::ranges::remove_if(candidates_,
                                   [&](const Candidate& c) { return c.weight < sampling.min_p; })
                .begin() -
            candidates_.begin()));
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

chat::TokenId Sampler::first_id(std::span<const float> row, float logit) const {
    for (const Range& range : ranges_) {
        const std::size_t place = find_first(range.of(row), logit);
        if (place < range.end - range.begin) return static_cast<chat::TokenId>(range.begin + place);
    }
    HF_ASSERT(false);
}

// Most logits of a large vocabulary lie far below: a cheap comparison, loose enough for its own
// rounding, spares them the exact one of weigh().
void Sampler::collect_candidates(std::span<const float> row, float largest, float temperature) {
    const float floor = largest - 32.5F * temperature - 1e-5F * std::abs(largest);
    std::size_t count = 0;
    for (const Range& range : ranges_)
        count += collect(range.of(row), floor, static_cast<chat::TokenId>(range.begin),
                         scratch_.data() + count);
    candidates_ = std::span(scratch_).first(count);
}

void Sampler::weigh(float largest, float temperature) {
    std::array<double, 512> exponents, weights;
    std::size_t kept = 0;
    for (std::size_t begin = 0; begin < candidates_.size(); begin += exponents.size()) {
        const std::size_t count = std::min(exponents.size(), candidates_.size() - begin);
        for (std::size_t i = 0; i < count; ++i) {
            const double below = static_cast<double>(candidates_[begin + i].logit) - largest;
            exponents[i] = below / temperature;
            weights[i] = std::max(exponents[i], -33.0);
        }
        exact_exp_each(std::span(weights).first(count));
        for (std::size_t i = 0; i < count; ++i) {
            candidates_[kept] = candidates_[begin + i];
            candidates_[kept].weight = weights[i];
            kept += exponents[i] >= -32.0 ? 1 : 0;
        }
    }
    keep_first(kept);
}

void Sampler::keep_top_k(std::size_t k) {
    if (k < candidates_.size()) {
        std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(k),
                         candidates_.end(), likelier);
        keep_first(k);
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
            if (sum >= wanted) return keep_first(sorted + 1);
        }
    }
}

chat::TokenScore Sampler::score(std::span<const float> row, float largest, chat::TokenId id,
                                std::size_t alternatives) {
    double sum = 0.0;
    for (const Range& range : ranges_) sum = add_exponentials(sum, range.of(row), largest);
    const double log_sum = exact_log(sum) + largest;
    const auto logprob = [&](chat::TokenId of) {
        return static_cast<float>(row[static_cast<std::size_t>(of)] - log_sum);
    };
    chat::TokenScore score{id, std::string(tokenizer_.bytes(id)), logprob(id), {}};
    for (const chat::TokenId top : likeliest_ids(row, alternatives))
        score.top.push_back({top, std::string(tokenizer_.bytes(top)), logprob(top)});
    return score;
}

// The `count` largest logits with a token, likeliest first, the lower id first among equals.
std::vector<chat::TokenId> Sampler::likeliest_ids(std::span<const float> row,
                                                  std::size_t count) const {
    std::vector<chat::TokenId> best;
    if (count == 0) return best;
    best.reserve(count + 1);
    constexpr std::size_t part = 256;  // ids, most of which nobody needs to look at singly
    const auto logit = [&](chat::TokenId id) { return row[static_cast<std::size_t>(id)]; };
    for (const Range& range : ranges_) {
        for (std::size_t begin = range.begin; begin < range.end; begin += part) {
            const std::size_t end = std::min(range.end, begin + part);
            const float largest = scan(row.subspan(begin, end - begin)).largest;
            if (best.size() == count && largest <= logit(best.back())) continue;
            for (std::size_t id = begin; id < end; ++id) {
                if (row[id] == masked || (best.size() == count && row[id] <= logit(best.back())))
                    continue;
                const auto place =
                    std::ranges::find_if(best, [&](auto other) { return logit(other) < row[id]; });
                best.insert(place, static_cast<chat::TokenId>(id));
                if (best.size() > count) best.pop_back();
            }
        }
    }
    return best;
}

}  // namespace holdfast::engine
