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

// A type of its own, so that sorting with it needs no call.
constexpr auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
};

// The smallest integer that is not below that share; the product is rounded to a double once.
std::uint64_t share_of(std::uint64_t weight, float share) {
    return static_cast<std::uint64_t>(
        std::ceil(static_cast<double>(weight) * static_cast<double>(share)));
}

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
                                            const chat::Generation& request, std::uint32_t choice,
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

base::Result<chat::TokenId> Sampler::draw(std::span<const float> row, float largest,
                                          const chat::Sampling& sampling, std::uint32_t choice,
                                          std::uint32_t position) {
    if (largest == masked)
        return base::fail(base::Code::internal, "the model leaves no token to choose from");
    if (sampling.temperature == 0.0F) return first_id(row, largest);
    collect_candidates(row, largest, sampling.temperature);
    if (sampling.top_k > 0) keep_top_k(static_cast<std::size_t>(sampling.top_k));
    weigh_candidates(largest, sampling.temperature);
    if (sampling.top_p < 1.0F)
        keep_top_p(share_of(total_weight(), sampling.top_p), largest - 8.0F * sampling.temperature);
    if (sampling.min_p > 0.0F) {
        const std::uint64_t least = share_of(weight_one, sampling.min_p);
        for (Candidate& candidate : candidates_)
            if (candidate.weight < least) candidate.weight = 0;
    }
    return pick(base::uniform(sampling.seed.value_or(0), choice, position));
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

void Sampler::weigh_candidates(float largest, float temperature) {
    std::array<double, 512> exponents;
    std::array<std::uint64_t, 512> weights;
    std::size_t kept = 0;
    for (std::size_t begin = 0; begin < candidates_.size(); begin += exponents.size()) {
        const std::size_t count = std::min(exponents.size(), candidates_.size() - begin);
        for (std::size_t i = 0; i < count; ++i)
            exponents[i] =
                (static_cast<double>(candidates_[begin + i].logit) - largest) / temperature;
        weigh(std::span(exponents).first(count), std::span(weights).first(count));
        for (std::size_t i = 0; i < count; ++i) {
            candidates_[kept] = candidates_[begin + i];
            candidates_[kept].weight = weights[i];
            kept += weights[i] > 0 ? 1 : 0;
        }
    }
    candidates_ = candidates_.first(kept);
}

void Sampler::keep_first(std::size_t count) {
    candidates_ = candidates_.first(count);
    std::ranges::sort(candidates_, {}, &Candidate::id);
}

void Sampler::keep_top_k(std::size_t count) {
    if (count >= candidates_.size()) return;
    std::ranges::nth_element(candidates_, candidates_.begin() + static_cast<std::ptrdiff_t>(count),
                             likelier);
    keep_first(count);
}

// The last one to keep is sought among those that are open; what comes before them is kept. They
// are parted until one is left: first at `near`, because what is far from likely is rarely needed.
void Sampler::keep_top_p(std::uint64_t wanted, float near) {
    std::span<Candidate> open = candidates_;
    std::size_t before = 0;
    const auto part = [&](std::size_t some) {
        std::uint64_t sum = 0;
        for (const Candidate& candidate : open.first(some)) sum += candidate.weight;
        if (sum >= wanted) {
            open = open.first(some);
        } else {
            wanted -= sum;
            before += some;
            open = open.subspan(some);
        }
    };
    const auto far =
        std::ranges::partition(open, [&](float logit) { return logit >= near; }, &Candidate::logit);
    part(open.size() - far.size());
    for (std::size_t guess = 64; open.size() > 1; guess *= 4) {
        const std::size_t some = std::min(open.size() / 2, guess);
        std::ranges::nth_element(open, open.begin() + static_cast<std::ptrdiff_t>(some), likelier);
        part(some);
    }
    keep_first(before + 1);
}

// A product of 62 and 24 bits, without its last 24.
chat::TokenId Sampler::pick(float uniform) const {
    constexpr std::uint64_t one = std::uint64_t{1} << 24;
    const auto u = static_cast<std::uint64_t>(uniform * static_cast<float>(one));
    const std::uint64_t total = total_weight();
    const std::uint64_t target = total / one * u + total % one * u / one;
    std::uint64_t sum = 0;
    for (const Candidate& candidate : candidates_) {
        sum += candidate.weight;
        if (sum > target) return candidate.id;
    }
    HF_ASSERT(false);
}

std::uint64_t Sampler::total_weight() const {
    std::uint64_t total = 0;
    for (const Candidate& candidate : candidates_) total += candidate.weight;
    return total;
}

chat::TokenScore Sampler::score(std::span<const float> row, float largest, chat::TokenId id,
                                std::size_t alternatives) {
    std::uint64_t sum = 0;
    for (const Range& range : ranges_) sum += sum_of_weights(range.of(row), largest);
    const double log_sum = exact_log(static_cast<double>(sum) / weight_one) + largest;
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
