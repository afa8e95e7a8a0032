// Runs models over passages and problems.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "common/base/error.h"
#include "inference/model/model.h"
#include "tools/eval/corpus.h"

namespace holdfast::eval {

// A position whose next token is to be predicted, and each model's logits for it.
struct Position {
    std::uint32_t passage = 0, position = 0;  // of the predicted token
    chat::TokenId right = 0;
    std::span<const std::span<const float>> logits;  // in the order of the models
};

// Called between forward passes; false ends the work. `share` of all work is done.
using Observer = std::function<bool(double share)>;

// The models see the same passages side by side; all positions come in order. False if the observer
// ended it. Every passage fits into every model's KV cache.
bool for_each_position(std::span<model::Model* const> models, std::span<const Passage> passages,
                       const Observer& observer, const std::function<void(const Position&)>& body);

// Greedy completions, without the end of sequence: the largest logit, the lowest id among equals,
// ids without a token never. As many at a time as `slots`, each with room for `tokens_max` more
// than the longest prompt. nullopt if the observer ended it.
std::optional<std::vector<std::vector<chat::TokenId>>> complete(
    model::Model& model, const text::Tokenizer& tokenizer,
    std::span<const std::vector<chat::TokenId>> prompts, std::uint32_t tokens_max,
    std::uint32_t slots, const Observer& observer);

}  // namespace holdfast::eval
