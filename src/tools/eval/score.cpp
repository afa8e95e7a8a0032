#include "tools/eval/score.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace holdfast::eval {
namespace {

constexpr float none = -std::numeric_limits<float>::infinity();

}  // namespace

LogProbabilities::LogProbabilities(const text::Tokenizer& tokenizer, std::uint32_t vocab)
    : exists_(vocab) {
    for (std::uint32_t id = 0; id < vocab; ++id)
        exists_[id] = tokenizer.exists(static_cast<chat::TokenId>(id));
}

void LogProbabilities::compute(std::span<const float> logits, std::vector<float>& out) const {
    out.assign(logits.size(), none);
    float largest = none;
    for (std::size_t i = 0; i < logits.size(); ++i)
        if (exists_[i]) largest = std::max(largest, logits[i]);
    double sum = 0;
    for (std::size_t i = 0; i < logits.size(); ++i)
        if (exists_[i]) sum += std::exp(logits[i] - largest);
    const double offset = largest + std::log(sum);
    for (std::size_t i = 0; i < logits.size(); ++i)
        if (exists_[i]) out[i] = static_cast<float>(logits[i] - offset);
}

Likeliest likeliest(std::span<const float> log_probabilities, chat::TokenId right,
                    std::uint32_t count) {
    std::vector<chat::TokenId> ids;
    for (std::size_t i = 0; i < log_probabilities.size(); ++i)
        if (log_probabilities[i] != none) ids.push_back(static_cast<chat::TokenId>(i));
    const auto kept = static_cast<std::ptrdiff_t>(std::min<std::size_t>(count, ids.size()));
    const auto value = [&](chat::TokenId id) {
        return log_probabilities[static_cast<std::size_t>(id)];
    };
    std::ranges::partial_sort(ids, ids.begin() + kept, [&](chat::TokenId a, chat::TokenId b) {
        return value(a) != value(b) ? value(a) > value(b) : a < b;
    });
    Likeliest out{.right = right, .right_log_probability = value(right)};
    for (auto id = ids.begin(); id != ids.begin() + kept; ++id)
        out.top.emplace_back(*id, value(*id));
    return out;
}

chat::TokenId top_id(std::span<const float> log_probabilities) {
    return static_cast<chat::TokenId>(std::ranges::max_element(log_probabilities) -
                                      log_probabilities.begin());
}

double divergence(std::span<const float> reference, std::span<const float> other) {
    double sum = 0;
    for (std::size_t i = 0; i < reference.size(); ++i)
        if (reference[i] != none)
            sum += std::exp(double{reference[i]}) * (double{reference[i]} - double{other[i]});
    return std::max(0.0, sum);  // rounding can make it a little less than 0
}

double divergence(const Likeliest& reference, std::span<const float> other) {
    double sum = 0, rest = 1, other_rest = 1;
    for (const auto& [id, log_probability] : reference.top) {
        const double theirs = other[static_cast<std::size_t>(id)];
        sum += std::exp(double{log_probability}) * (double{log_probability} - theirs);
        rest -= std::exp(double{log_probability});
        other_rest -= std::exp(theirs);
    }
    // What is left is a difference of rounded numbers near 1: below this it is noise.
    constexpr double noise = 1e-6;
    if (rest > noise) sum += rest * std::log(rest / std::max(other_rest, noise));
    return std::max(0.0, sum);
}

void Agreement::add(double divergence, bool same, std::uint32_t passage, std::uint32_t position) {
    ++positions;
    same_top += same ? 1 : 0;
    divergence_sum += divergence;
    if (divergence <= worst) return;
    worst = divergence;
    worst_passage = passage;
    worst_position = position;
}

void Likelihood::add(double log_probability) {
    ++positions;
    log_sum += log_probability;
}

double Likelihood::perplexity() const {
    return std::exp(-log_sum / static_cast<double>(positions));
}

}  // namespace holdfast::eval
