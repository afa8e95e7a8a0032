// The tokens that merging makes, by their spelling in the byte alphabet, while a file is read.
// Errors say what is wrong; the caller says where.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include "common/base/error.h"
#include "inference/text/bpe.h"
#include "inference/text/vocabulary.h"

namespace holdfast::text {

// Points to spellings that the caller keeps.
class Spellings {
public:
    // False if the spelling is there already.
    bool add(std::string_view spelling, chat::TokenId id) {
        return index_.emplace(spelling, id).second;
    }
    std::optional<chat::TokenId> find(std::string_view spelling) const;
    // The token of each byte. Text is made of bytes, so each must have one or text would get lost.
    base::Result<std::array<chat::TokenId, 256>> byte_tokens() const;
    base::Result<Merge> merge(std::string_view left, std::string_view right) const;
    // A merge as "left right".
    base::Result<Merge> merge(std::string_view both) const;
    // Fills vocabulary.model, once the vocabulary has all bytes.
    void index(Vocabulary& vocabulary) const;

private:
    base::Result<chat::TokenId> require(std::string_view spelling) const;

    TokenIndex index_;
};

}  // namespace holdfast::text
