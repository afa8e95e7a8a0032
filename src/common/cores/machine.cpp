#include "common/cores/machine.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <thread>
#include <tuple>

namespace holdfast::cores {
namespace {

// A CPU mask that is large enough for every kernel.
using Mask = std::array<cpu_set_t, cpus_max / CPU_SETSIZE>;

// The list in a file of sysfs; empty where there is none.
CpuSet read_list(const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    auto cpus = parse_cpu_list(line);
    return cpus ? *std::move(cpus) : CpuSet();
}

// cpu.max of a control group holds "QUOTA PERIOD", or "max PERIOD" when there is no limit.
std::uint32_t read_quota(const std::string& path) {
    std::ifstream file(path);
    double quota = 0, period = 0;
    if (!(file >> quota >> period) || quota <= 0 || period <= 0) return ~0U;
    return static_cast<std::uint32_t>(std::clamp(std::ceil(quota / period), 1.0, double{cpus_max}));
}

std::uint32_t count_cores(const std::vector<Cpu>& cpus) {
    std::uint32_t cores = 0;
    for (std::size_t i = 0; i < cpus.size(); ++i)
        if (i == 0 || cpus[i].core != cpus[i - 1].core) ++cores;
    return cores;
}

}  // namespace

std::uint32_t Machine::threads() const {
    return std::max(1U, std::min(count_cores(cpus), quota_cpus));
}

bool Machine::has_tight_quota() const { return quota_cpus < count_cores(cpus); }

Machine read_machine(const std::string& sysfs, const CpuSet& allowed) {
    Machine machine;
    machine.present = read_list(sysfs + "/devices/system/cpu/online");
    if (machine.present.empty()) machine.present = allowed;
    machine.quota_cpus = read_quota(sysfs + "/fs/cgroup/cpu.max");
    for (const std::uint32_t id : allowed) {
        const CpuSet siblings = read_list(
            fmt::format("{}/devices/system/cpu/cpu{}/topology/thread_siblings_list", sysfs, id));
        machine.cpus.push_back({.id = id, .core = siblings.empty() ? id : siblings.front()});
    }
    for (const std::uint32_t node : read_list(sysfs + "/devices/system/node/online")) {
        const CpuSet members =
            read_list(fmt::format("{}/devices/system/node/node{}/cpulist", sysfs, node));
        for (Cpu& cpu : machine.cpus)
            if (std::ranges::binary_search(members, cpu.id)) cpu.node = node;
    }
    std::ranges::sort(machine.cpus, {},
                      [](const Cpu& cpu) { return std::tuple(cpu.node, cpu.core, cpu.id); });
    return machine;
}

Machine this_machine() {
    const CpuSet allowed = thread_affinity();
    if (allowed.empty()) return plain_machine(std::max(1U, std::thread::hardware_concurrency()));
    return read_machine("/sys", allowed);
}

std::string processor_name() {
    std::ifstream info("/proc/cpuinfo");
    std::string line;
    while (std::getline(info, line)) {
        const auto colon = line.find(": ");
        if (line.starts_with("model name") && colon != line.npos) return line.substr(colon + 2);
    }
    utsname system{};
    return ::uname(&system) == 0 ? system.machine : "unknown";
}

Machine plain_machine(std::uint32_t count) {
    Machine machine;
    for (std::uint32_t id = 0; id < count; ++id) {
        machine.cpus.push_back({.id = id, .core = id});
        machine.present.push_back(id);
    }
    return machine;
}

CpuSet thread_affinity() {
    Mask mask = {};
    CpuSet cpus;
    if (::sched_getaffinity(0, sizeof mask, mask.data()) != 0) return cpus;
    for (std::uint32_t id = 0; id < cpus_max; ++id)
        if (CPU_ISSET_S(id, sizeof mask, mask.data())) cpus.push_back(id);
    return cpus;
}

bool set_thread_affinity(const CpuSet& cpus) {
    Mask mask = {};
    for (const std::uint32_t id : cpus) CPU_SET_S(id, sizeof mask, mask.data());
    return ::sched_setaffinity(0, sizeof mask, mask.data()) == 0;
}

}  // namespace holdfast::cores
