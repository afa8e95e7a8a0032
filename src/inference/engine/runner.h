// Who computes a plan: the model on this host, or a device that is still at the last step while the
// next one is planned.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/base/error.h"
#include "common/chat/event.h"
#include "inference/engine/sampler.h"
#include "inference/engine/scheduler.h"

namespace holdfast::engine {

// What a row made of its sequence: an event for each token that was drawn, which the sequence's
// state has been fed. None if the row draws nothing, or if its sequence has finished meanwhile.
struct Drawn {
    std::vector<chat::Event> events;
    std::optional<base::Error> error;  // after these events; it ends the request
};

// Engine thread only. Steps are computed in the order in which they were launched: a block that was
// given away is written by its new owner after everything that its old one had launched.
class Runner {
public:
    virtual ~Runner() = default;
    // Steps that may be in flight while the next one is planned: 0, or 1 for a device.
    virtual std::uint32_t depth() const = 0;
    // Begins to compute the rows, whose memory and whose sequences stay until they are collected.
    // What it needs of a sequence's ids, blocks and state it takes now. A row of a sequence with a
    // pending token is of that token alone: the runner knows it, the sequence does not.
    virtual void launch(std::span<const Row> rows) = 0;
    // Waits for the oldest launch; results are in the order of its rows and valid until the next
    // call. An error is the device's death: what is in flight is lost, and nothing may be launched
    // any more.
    virtual base::Result<std::span<Drawn>> collect() = 0;
};

// Feeds a drawn token to its sequence's state and makes the event of it.
chat::Event say(Sequence& sequence, Sampler::Draw draw);

}  // namespace holdfast::engine
