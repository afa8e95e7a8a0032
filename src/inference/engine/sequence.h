// What the engine knows about a request (Group) and each of its choices (Sequence).
#pragma once

#include <memory>
#include <vector>

#include "common/base/clock.h"
#include "common/chat/event.h"
#include "common/chat/request.h"
#include "inference/engine/blocks.h"
#include "inference/engine/channel.h"
#include "inference/engine/speculation.h"
#include "inference/engine/token_state.h"

namespace holdfast::engine {

struct Group;

enum class Phase { waiting, running, finished };

// Owned by its group. `ids` only grows, but for proposals between a plan and its commit; behind
// them come `pending` tokens that are being drawn. `blocks` hold the keys and values of the first
// `computed` of all these and have room for at least the rest of those that are being computed.
struct Sequence {
    Sequence(Group& group, std::uint32_t choice, TokenState state)
        : group(group), choice(choice), state(std::move(state)) {}

    std::uint32_t length() const { return static_cast<std::uint32_t>(ids.size()) + pending; }
    std::uint32_t uncomputed() const { return length() - computed; }

    Group& group;
    std::uint32_t choice;
    Phase phase = Phase::waiting;
    bool admitted_before = false;      // preempted since, if it waits
    std::vector<chat::TokenId> ids;    // the prompt, then what was generated
    std::vector<BlockKey> cache_keys;  // of the full blocks of prompt and replayed ids
    // Drawn by steps in flight and not known here: 0 or 1 when a step is planned.
    std::uint32_t pending = 0;
    std::uint32_t computed = 0;   // tokens whose keys and values are in the blocks
    std::uint32_t published = 0;  // of the first blocks: offered to the prefix cache
    std::vector<BlockId> blocks;
    TokenState state;  // has been fed the generated ids
    Speculation speculation;
};

// One request. Built on the submitting thread, then owned by the engine thread.
struct Group {
    chat::Generation request;
    base::Deadline deadline;
    std::shared_ptr<Channel> channel;
    std::uint64_t arrival = 0;        // orders groups; never repeats
    std::uint32_t prompt_tokens = 0;  // without replayed ids
    std::uint32_t cached_tokens = 0;  // of the prompt, read from the prefix cache by choice 0
    std::vector<Sequence> sequences;  // one per choice; never grows after construction
    std::uint32_t unfinished = 0;     // choices
    std::uint32_t in_flight = 0;      // rows that were launched and not collected
    std::vector<chat::Event> events;  // of this step, not pushed yet

    chat::Usage usage() const {
        chat::Usage total{.prompt_tokens = prompt_tokens, .cached_tokens = cached_tokens};
        for (const Sequence& sequence : sequences) {
            total.completion_tokens += sequence.state.output().tokens();
            total.reasoning_tokens += sequence.state.output().reasoning_tokens();
        }
        return total;
    }
};

// First come, first served; choices of one request in order.
inline bool comes_before(const Sequence* a, const Sequence* b) {
    return a->group.arrival != b->group.arrival ? a->group.arrival < b->group.arrival
                                                : a->choice < b->choice;
}

}  // namespace holdfast::engine
