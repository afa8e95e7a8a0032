#include "common/cores/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>

namespace holdfast::cores {
namespace {

using base::Code;
using base::fail;

constexpr std::uint32_t shares_max = 1'024;

// A physical core: its CPUs, all of one node.
using Core = std::span<const Cpu>;

std::vector<Core> cores_of(std::span<const Cpu> cpus) {
    std::vector<Core> cores;
    for (std::size_t begin = 0; begin < cpus.size();) {
        std::size_t end = begin + 1;
        while (end < cpus.size() && cpus[end].core == cpus[begin].core) ++end;
        cores.push_back(cpus.subspan(begin, end - begin));
        begin = end;
    }
    return cores;
}

CpuSet ids_of(std::span<const Cpu> cpus) {
    CpuSet ids;
    for (const Cpu& cpu : cpus) ids.push_back(cpu.id);
    std::ranges::sort(ids);
    return ids;
}

base::Result<> read_share(std::string_view text, Choice& choice) {
    const std::size_t slash = std::min(text.find('/'), text.size());
    const auto number = [](std::string_view digits) {
        std::uint32_t value = 0;
        const char* const end = digits.data() + digits.size();
        const auto [stopped, error] = std::from_chars(digits.data(), end, value);
        return error == std::errc() && stopped == end ? value : 0;
    };
    const std::uint32_t index = number(text.substr(0, slash));
    const std::uint32_t count = slash < text.size() ? number(text.substr(slash + 1)) : 0;
    if (index == 0 || index > count || count > shares_max)
        return fail(Code::invalid,
                    "ends in \":{}\", which is no share such as 1/2, of at most {} shares",
                    text.substr(0, 40), shares_max);
    choice.share = {.index = index - 1, .count = count};
    return {};
}

// The machine's CPUs that a choice names.
base::Result<std::vector<Cpu>> named_cpus(const Choice& choice, const Machine& machine) {
    if (choice.kind != Choice::Kind::list) return machine.cpus;
    std::vector<Cpu> named;
    for (const Cpu& cpu : machine.cpus)
        if (std::ranges::binary_search(choice.list, cpu.id)) named.push_back(cpu);
    if (named.size() == choice.list.size() || choice.share) return named;
    for (const std::uint32_t id : choice.list) {
        if (!std::ranges::binary_search(machine.present, id))
            return fail(Code::invalid, "has CPU {}, which this machine does not have: it has {}",
                        id, format_cpu_list(machine.present));
        if (std::ranges::find(machine.cpus, id, &Cpu::id) == machine.cpus.end())
            return fail(Code::invalid,
                        "has CPU {}, which this process may not use: it is limited to {}", id,
                        format_cpu_list(ids_of(machine.cpus)));
    }
    return named;
}

// Takes `count` cores off `free`: the first ones of the first node that has so many, or the first
// ones of all.
std::vector<Core> take(std::vector<Core>& free, std::size_t count) {
    auto begin = free.begin();
    for (auto at = free.begin(); at != free.end();) {
        const auto end = std::find_if(
            at, free.end(), [&](Core core) { return core.front().node != at->front().node; });
        if (static_cast<std::size_t>(end - at) >= count) {
            begin = at;
            break;
        }
        at = end;
    }
    const auto end = begin + static_cast<std::ptrdiff_t>(count);
    std::vector<Core> taken(begin, end);
    free.erase(begin, end);
    return taken;
}

}  // namespace

base::Result<Choice> parse_choice(std::string_view text) {
    Choice choice;
    const std::size_t colon = std::min(text.find(':'), text.size());
    const std::string_view what = text.substr(0, colon);
    if (colon < text.size()) HF_TRY(read_share(text.substr(colon + 1), choice));
    if (what == "auto") return choice;
    if (what == "none") {
        choice.kind = Choice::Kind::none;
        return choice;
    }
    choice.kind = Choice::Kind::list;
    auto list = parse_cpu_list(what);
    if (!list)
        return fail(Code::invalid, "must be auto, none or CPUs such as 0-3,8: it {}",
                    list.error().what);
    choice.list = *std::move(list);
    return choice;
}

std::string format_share(std::string_view choice, Share share) {
    return fmt::format("{}:{}/{}", choice, share.index + 1, share.count);
}

base::Result<std::vector<Cpu>> cpus_of(const Choice& choice, const Machine& machine) {
    if (choice.kind == Choice::Kind::none) return std::vector<Cpu>();
    HF_TRY_ASSIGN(std::vector<Cpu> named, named_cpus(choice, machine));
    if (!choice.share) return named;
    std::vector<Core> free = cores_of(named);
    const std::size_t cores_each = free.size() / choice.share->count;
    std::vector<Cpu> own;
    for (std::uint32_t i = 0; i <= choice.share->index && cores_each > 0; ++i) {
        own.clear();
        for (const Core core : take(free, cores_each))
            own.insert(own.end(), core.begin(), core.end());
    }
    return own;
}

base::Result<std::uint32_t> threads_of(const Choice& choice, const Machine& machine) {
    const std::uint32_t shares = choice.share ? choice.share->count : 1;
    if (choice.kind == Choice::Kind::none) return std::max(1U, machine.threads() / shares);
    Machine part = machine;
    part.quota_cpus /= shares;
    HF_TRY_ASSIGN(part.cpus, cpus_of(choice, machine));
    return part.threads();
}

base::Result<Placement> place(const Choice& choice, std::uint32_t threads, const Machine& machine) {
    HF_TRY_ASSIGN(const std::vector<Cpu> cpus, cpus_of(choice, machine));
    const std::vector<Core> cores = cores_of(cpus);
    if (cpus.empty()) return Placement();
    if (choice.kind == Choice::Kind::automatic) {
        // Gateway and event loops run on the same cores, and a thread that may not step aside for
        // them makes all others of its pool wait.
        const bool in_the_way = !choice.share || cores.size() < 2 || threads > cores.size() ||
                                machine.has_tight_quota();
        const bool one_node = machine.cpus.front().node == machine.cpus.back().node;
        const bool one_to_spare = threads < cores.size();
        if (in_the_way || (one_node && !one_to_spare)) return Placement();
        if (!one_to_spare) return Placement(threads, ids_of(cpus));
    }
    Placement placement;
    for (std::size_t thread = 0; thread < threads; ++thread) {
        if (threads <= cores.size()) {
            placement.push_back(ids_of(cores[thread * cores.size() / threads]));
        } else if (threads <= cpus.size()) {
            placement.push_back({cpus[thread * cpus.size() / threads].id});
        } else {
            placement.push_back(ids_of(cpus));
        }
    }
    return placement;
}

std::string describe(const Placement& placement, std::uint32_t threads) {
    const std::string_view plural = threads == 1 ? "" : "s";
    if (placement.empty()) return fmt::format("{} thread{} on any CPU", threads, plural);
    CpuSet all;
    std::size_t named = 0;
    for (const CpuSet& cpus : placement) {
        all.insert(all.end(), cpus.begin(), cpus.end());
        named += cpus.size();
    }
    std::ranges::sort(all);
    const auto twins = std::ranges::unique(all);
    all.erase(twins.begin(), twins.end());
    return fmt::format("{} thread{} on CPU{} {}{}", threads, plural, all.size() == 1 ? "" : "s",
                       format_cpu_list(all),
                       named == all.size() && threads > 1 ? ", each on its own" : "");
}

}  // namespace holdfast::cores
