// Tokens by id and by bytes.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "chat/request.h"

namespace holdfast::text {

struct TextHash {
    std::size_t operator()(std::string_view text) const { return base::hash64(text); }
};
using TokenIndex = std::unordered_map<std::string_view, chat::TokenId, TextHash>;

// What each id stands for. Ids without a token have empty bytes. Movable, as the index points to
// strings that a move of the vector leaves in place.
struct Vocabulary {
    std::vector<std::string> bytes;  // by id
    std::vector<bool> special;       // by id
    TokenIndex added;                // added tokens, by content
    TokenIndex merged;               // tokens of the model, by bytes

    std::optional<chat::TokenId> find(std::string_view token) const {
        if (const auto entry = added.find(token); entry != added.end()) return entry->second;
        if (const auto entry = merged.find(token); entry != merged.end()) return entry->second;
        return std::nullopt;
    }
    bool holds(chat::TokenId id) const {
        return id >= 0 && static_cast<std::size_t>(id) < bytes.size();
    }
};

}  // namespace holdfast::text
