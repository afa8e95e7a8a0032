// The roster, both ends: the keeper's list of instances, one packet per change (docs/protocol.md,
// section 3).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"

namespace holdfast::upstream {

// The keeper's view of the process behind an instance.
enum class ProcessState { unknown, starting, running, draining, down };

struct RosterEntry {
    std::string id;
    int pid = 0;  // 0: no process
    std::uint32_t restarts = 0;
    ProcessState state = ProcessState::starting;
    std::string listen;  // "127.0.0.1:43211"; empty: not known yet
    std::string reason;  // why there is no process; empty: there is one, or nobody knows
    friend bool operator==(const RosterEntry&, const RosterEntry&) = default;
};

// What one packet may hold; the gateway reads no more.
inline constexpr std::size_t roster_bytes_max = 65'536;
inline constexpr std::size_t roster_entries_max = 1024;

// The keeper's end: "id=a pid=4711 restarts=2 state=running listen=127.0.0.1:43211\n"; while there
// is no process with how the last one ended: "... listen=- reason=exited with code 1: FILE is cut
// short\n". `reason` is one line; the state must be known.
void append_roster_line(std::string& out, const RosterEntry& entry);

// The gateway's end. Fields may come in any order, but `reason` takes the rest of the line; unknown
// ones are skipped, so that keeper and gateway of different versions understand each other.
// Code::corrupt when a line lacks `id` or `state`, a number or a state is none, an id comes twice,
// or there are more than roster_entries_max.
base::Result<std::vector<RosterEntry>> parse_roster(std::string_view packet);

}  // namespace holdfast::upstream
