// Tokens by id and by bytes.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/base/hash.h"
#include "common/chat/request.h"

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
    TokenIndex model;                // the tokens that merging makes, by bytes
    // The tokens found by their spelling. Not by bytes: where the spelling consists of characters
    // that stand for bytes, it is decoded like any other token's.
    std::map<std::string, chat::TokenId, std::less<>> added;

    std::optional<chat::TokenId> find(std::string_view token) const {
        if (const auto entry = added.find(token); entry != added.end()) return entry->second;
        if (const auto entry = model.find(token); entry != model.end()) return entry->second;
        return std::nullopt;
    }
    // Makes `id` stand for `bytes`, and room for it.
    void hold(chat::TokenId id, std::string text) {
        const auto row = static_cast<std::size_t>(id);
        if (row >= bytes.size()) {
            bytes.resize(row + 1);
            special.resize(row + 1);
        }
        bytes[row] = std::move(text);
    }
    // `id` stands for something already.
    bool taken(chat::TokenId id) const {
        return holds(id) && !bytes[static_cast<std::size_t>(id)].empty();
    }
    bool holds(chat::TokenId id) const {
        return id >= 0 && static_cast<std::size_t>(id) < bytes.size();
    }
};

}  // namespace holdfast::text
