#include "inference/text/spellings.h"

#include <algorithm>

#include "inference/text/byte_alphabet.h"

namespace holdfast::text {

using base::Code;
using base::Result;
using chat::TokenId;

std::optional<TokenId> Spellings::find(std::string_view spelling) const {
    const auto entry = index_.find(spelling);
    return entry == index_.end() ? std::nullopt : std::optional(entry->second);
}

Result<std::array<TokenId, 256>> Spellings::byte_tokens() const {
    std::array<TokenId, 256> tokens{};
    std::array<bool, 256> found{};
    for (const auto& [spelling, id] : index_) {
        const auto bytes = bytes_of_spelling(spelling);
        if (!bytes || bytes->size() != 1) continue;
        const auto byte = static_cast<std::uint8_t>(bytes->front());
        found[byte] = true;
        tokens[byte] = id;
    }
    const auto missing = std::ranges::find(found, false);
    if (missing != found.end())
        return base::fail(Code::corrupt, "has no token for the byte 0x{:02X}",
                          missing - found.begin());
    return tokens;
}

Result<TokenId> Spellings::require(std::string_view spelling) const {
    if (const auto id = find(spelling)) return *id;
    return base::fail(Code::corrupt, "token \"{}\" is not in the vocabulary", spelling);
}

Result<Merge> Spellings::merge(std::string_view left, std::string_view right) const {
    Merge merge;
    HF_TRY_ASSIGN(merge.left, require(left));
    HF_TRY_ASSIGN(merge.right, require(right));
    HF_TRY_ASSIGN(merge.merged, require(fmt::format("{}{}", left, right)));
    return merge;
}

Result<Merge> Spellings::merge(std::string_view both) const {
    const std::size_t space = both.find(' ');
    if (space == std::string_view::npos || both.find(' ', space + 1) != std::string_view::npos)
        return base::fail(Code::corrupt, "\"{}\" is not a pair of tokens", both);
    return merge(both.substr(0, space), both.substr(space + 1));
}

void Spellings::index(Vocabulary& vocabulary) const {
    vocabulary.model.reserve(index_.size());
    for (const auto& [spelling, id] : index_) vocabulary.model.emplace(vocabulary.bytes[id], id);
}

}  // namespace holdfast::text
