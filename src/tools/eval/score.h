// How well a model predicts, and how far it is from another.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "common/chat/request.h"
#include "inference/text/tokenizer.h"

namespace holdfast::eval {

// Natural logarithms of the probabilities of one row of logits. Ids without a token have none
// (minus infinity), as in sampling.
class LogProbabilities {
public:
    // `vocab` rows of the model's head.
    LogProbabilities(const text::Tokenizer& tokenizer, std::uint32_t vocab);
    void compute(std::span<const float> logits, std::vector<float>& out) const;

private:
    std::vector<bool> exists_;
};

// The likeliest ids of a position with their log-probabilities, and that of the right one.
struct Likeliest {
    chat::TokenId right = 0;
    double right_log_probability = 0;
    std::vector<std::pair<chat::TokenId, float>> top;  // descending; ties by ascending id
};
Likeliest likeliest(std::span<const float> log_probabilities, chat::TokenId right,
                    std::uint32_t count);

chat::TokenId top_id(std::span<const float> log_probabilities);

// Kullback-Leibler divergence of `other` from `reference`, in nats: the mean of
// log(reference / other) under the reference.
double divergence(std::span<const float> reference, std::span<const float> other);

// The same where only the reference's likeliest ids are known: all other ids count as one, which
// makes it at most the true one (the data processing inequality).
double divergence(const Likeliest& reference, std::span<const float> other);

// Over all positions.
struct Agreement {
    std::uint64_t positions = 0, same_top = 0;
    double divergence_sum = 0, worst = 0;
    std::uint32_t worst_passage = 0, worst_position = 0;
    void add(double divergence, bool same, std::uint32_t passage, std::uint32_t position);
};

struct Likelihood {
    std::uint64_t positions = 0;
    double log_sum = 0;
    void add(double log_probability);
    double perplexity() const;  // exp of the mean negative log-likelihood; positions > 0
};

}  // namespace holdfast::eval
