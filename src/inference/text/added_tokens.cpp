#include "inference/text/added_tokens.h"

namespace holdfast::text {

void AddedTokens::add(std::string_view content, chat::TokenId id) {
    Node node = 0;
    for (const char byte : content) {
        const auto [entry, is_new] =
            edges_.try_emplace(edge(node, byte), static_cast<Node>(nodes_.size()));
        if (is_new) nodes_.push_back({});
        node = entry->second;
    }
    nodes_[node] = {true, id};
    starts_[static_cast<std::uint8_t>(content.front())] = true;
}

std::optional<AddedTokens::Match> AddedTokens::match_at(std::string_view text,
                                                        std::size_t begin) const {
    std::optional<Match> longest;
    Node node = 0;
    for (std::size_t at = begin; at < text.size(); ++at) {
        const auto next = edges_.find(edge(node, text[at]));
        if (next == edges_.end()) break;
        node = next->second;
        if (nodes_[node].ends) longest = Match{begin, at + 1 - begin, nodes_[node].id};
    }
    return longest;
}

std::optional<AddedTokens::Match> AddedTokens::find(std::string_view text) const {
    for (std::size_t begin = 0; begin < text.size(); ++begin) {
        if (!starts_[static_cast<std::uint8_t>(text[begin])]) continue;
        if (const auto match = match_at(text, begin)) return match;
    }
    return std::nullopt;
}

}  // namespace holdfast::text
