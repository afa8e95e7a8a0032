// Tokens that are found in the text by their spelling, before any other rule applies.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/chat/request.h"

namespace holdfast::text {

// A trie over bytes. Immutable after the last add; any thread may call find.
class AddedTokens {
public:
    struct Match {
        std::size_t begin = 0, length = 0;
        chat::TokenId id = 0;
    };
    // `content` must not be empty. Adding the same content again replaces its id.
    void add(std::string_view content, chat::TokenId id);
    bool empty() const { return nodes_.size() == 1; }
    // The leftmost match in `text`, the longest of those that begin there. Linear in the length of
    // the text times the length of the longest token.
    std::optional<Match> find(std::string_view text) const;

private:
    using Node = std::uint32_t;  // index into nodes_; 0 is the root
    struct Ending {
        bool ends = false;
        chat::TokenId id = 0;
    };
    static std::uint64_t edge(Node node, char byte) {
        return std::uint64_t{node} << 8 | static_cast<std::uint8_t>(byte);
    }
    std::optional<Match> match_at(std::string_view text, std::size_t begin) const;

    std::vector<Ending> nodes_{1};
    std::unordered_map<std::uint64_t, Node> edges_;
    std::array<bool, 256> starts_{};  // bytes that some token begins with
};

}  // namespace holdfast::text
