// Which ids a choice has seen.
#pragma once

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <span>
#include <vector>

#include "common/chat/request.h"

namespace holdfast::engine {

// The penalties' memory. Remembers nothing if the request has no penalties.
class History {
public:
    History(const chat::Sampling& sampling, std::span<const chat::TokenId> prompt);
    void add(chat::TokenId generated);

    struct Seen {
        chat::TokenId id;
        std::uint32_t generated;  // times; 0: only in the prompt
    };
    std::span<const Seen> seen() const { return seen_; }

private:
    Seen& entry(chat::TokenId id);
    bool active_;
    std::vector<Seen> seen_;
    boost::unordered_flat_map<chat::TokenId, std::uint32_t> index_;
};

}  // namespace holdfast::engine
