// One chunk of an instance's stream.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/chat/event.h"

namespace holdfast::upstream {

struct Chunk {
    // One per choice that it speaks of; nearly always one.
    chat::Event event;
    std::vector<chat::Event> further;
    bool has_choice = false;
    bool is_chat = false;
    std::optional<chat::Usage> usage;
};

struct ChunkRules {
    bool extended = false;      // the extension is read from holdfast instances alone
    bool wants_scores = false;  // log probabilities that nobody asked for are passed over
};

// Into a fresh chunk. Code::corrupt (Origin::instance) for what is not a chunk; the error that it
// carries for one that is an error.
base::Result<> read_chunk(std::string_view data, const ChunkRules& rules, Chunk& chunk);

std::unexpected<base::Error> corrupt_chunk(std::string_view what);

}  // namespace holdfast::upstream
