#include "inference/engine/history.h"

namespace holdfast::engine {

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

}  // namespace holdfast::engine
