// The keeper's list of instances, one packet per change (docs/protocol.md, section 3).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "service/fleet/health.h"

namespace holdfast::fleet {

struct RosterEntry {
    std::string id;
    int pid = 0;  // 0: no process
    std::uint32_t restarts = 0;
    ProcessState state = ProcessState::starting;
    std::string listen;  // "127.0.0.1:43211"; empty: not known yet
    std::string reason;  // why there is no process; empty: there is one, or nobody knows
};

inline constexpr std::size_t roster_bytes_max = 65'536;

// Fields may come in any order, but `reason` takes the rest of the line; unknown ones are skipped,
// so that keeper and gateway of different versions understand each other. Code::corrupt when a line
// lacks `id` or `state`, a number or a state is none, or an id comes twice.
base::Result<std::vector<RosterEntry>> parse_roster(std::string_view packet);

}  // namespace holdfast::fleet
