// Which threads of which process run on which CPUs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/cores/machine.h"

namespace holdfast::cores {

// One of `count` equal shares; `index` counts from 0.
struct Share {
    std::uint32_t index = 0, count = 1;
};

// The setting worker.cores as written: "auto", "none" or a list of CPUs. Each may end in ":I/N",
// the I-th of N shares, counted from 1: what `serve` gives each of its workers. It is a share and
// not a list of CPUs because what is allowed may change while a service runs, and a worker must
// start again nevertheless.
struct Choice {
    enum class Kind { automatic, none, list };
    Kind kind = Kind::automatic;
    CpuSet list;
    std::optional<Share> share;
};
// Errors are one clause that fits behind the setting's name.
[[nodiscard]] base::Result<Choice> parse_choice(std::string_view text);

// A share of what is written as `choice`, as parse_choice reads it.
std::string format_share(std::string_view choice, Share share);

// The CPUs of a choice, its own share alone, in the machine's order: empty for none, and when there
// are more shares than cores. Every share has as many physical cores as the others, whole ones and
// of one node where a node has so many left; what cannot be divided stays free. Errors: invalid
// when a list names a CPU that is not there or not allowed; with a
// share such a CPU is left out instead.
[[nodiscard]] base::Result<std::vector<Cpu>> cpus_of(const Choice& choice, const Machine& machine);

// Threads that a choice has room for: Machine::threads() of its share.
[[nodiscard]] base::Result<std::uint32_t> threads_of(const Choice& choice, const Machine& machine);

// For each thread the CPUs that it is kept to; empty: all run where the system puts them.
using Placement = std::vector<CpuSet>;

// One physical core for each thread, spread evenly over the share, if there are enough; else one
// CPU for each; else the whole share for all. "auto" does so only where the share has a core to
// spare; on machines with several nodes it keeps threads to the whole share, where their memory is;
// else, as without a share, on one core and under a tight quota, threads are free.
[[nodiscard]] base::Result<Placement> place(const Choice& choice, std::uint32_t threads,
                                            const Machine& machine);

// "4 threads on CPUs 0-3, a core each", for logs.
std::string describe(const Placement& placement, std::uint32_t threads);

}  // namespace holdfast::cores
