// The CPUs that this process may use, and how they hang together.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/cores/cpu_list.h"

namespace holdfast::cores {

struct Cpu {
    std::uint32_t id = 0;
    std::uint32_t core = 0;  // lowest CPU of its physical core; hyper-threads have it in common
    std::uint32_t node = 0;  // of the memory that is nearest
    friend bool operator==(const Cpu&, const Cpu&) = default;
};

// Plain data; tests make their own.
struct Machine {
    std::vector<Cpu> cpus;           // those allowed, by node, core and number
    CpuSet present;                  // all that are online, allowed or not
    std::uint32_t quota_cpus = ~0U;  // processor time that a control group grants, in whole CPUs

    // Threads that compute without getting in each other's way: one per physical core, within the
    // quota.
    std::uint32_t threads() const;
    // True when the quota is what limits and not the CPUs.
    bool has_tight_quota() const;
};

// What `sysfs`, a folder such as "/sys", says about the CPUs `allowed`. What it does not say is
// taken to be the simplest: a core for each CPU, one node, no quota.
Machine read_machine(const std::string& sysfs, const CpuSet& allowed);
// The machine that this process runs on, as sched_getaffinity(2) limits it.
Machine this_machine();

// What the system calls its processor, or the architecture where it has no name.
std::string processor_name();

// `count` cores of one node each.
Machine plain_machine(std::uint32_t count);

// The CPUs that the calling thread may run on; empty where the system does not say.
CpuSet thread_affinity();
// Keeps the calling thread to these CPUs. False where the system refuses: it runs as before.
bool set_thread_affinity(const CpuSet& cpus);

}  // namespace holdfast::cores
