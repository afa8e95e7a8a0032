// The keeper's end of the roster, docs/protocol.md section 3.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "common/base/error.h"
#include "common/base/unique_fd.h"
#include "common/upstream/roster.h"
#include "service/keeper/child.h"

namespace holdfast::keeper {

// `reason`, one line, tells how the last process ended; it is shown while there is none.
upstream::RosterEntry roster_entry(const std::string& id, const Child& child,
                                   const std::string& reason);

// One gateway's channel. Keeper's thread only; never blocks: while the gateway does not read, only
// the latest list is kept.
class RosterChannel {
public:
    // A fresh channel for a new gateway; returns the gateway's end. Sends nothing yet.
    base::Result<base::UniqueFd> renew();
    void close() { fd_.reset(); }

    // Sends `list` unless it is what was sent last. Call it again after each change, and when
    // waits_for_room() and the fd has become writable.
    void send(const std::string& list);

    int fd() const { return fd_.get(); }  // -1 without a gateway
    bool waits_for_room() const { return waits_; }

private:
    base::UniqueFd fd_;
    std::string sent_;
    bool waits_ = false;
};

}  // namespace holdfast::keeper
