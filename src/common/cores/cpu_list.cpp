#include "common/cores/cpu_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace holdfast::cores {
namespace {

using base::Code;
using base::fail;

base::Result<std::uint32_t> parse_cpu(std::string_view text, std::string_view part) {
    std::uint32_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, number);
    if (stopped != end || error == std::errc::invalid_argument)
        return fail(Code::invalid, "has \"{}\", which is no CPU and no range such as 0-3",
                    part.substr(0, 40));
    if (error != std::errc() || number >= cpus_max)
        return fail(Code::invalid, "has CPU {}, and the largest number is {}", text.substr(0, 40),
                    cpus_max - 1);
    return number;
}

}  // namespace

base::Result<CpuSet> parse_cpu_list(std::string_view text) {
    if (text.empty()) return fail(Code::invalid, "names no CPU");
    std::vector<bool> named(cpus_max);
    for (std::size_t begin = 0; begin <= text.size();) {
        const std::size_t comma = std::min(text.find(',', begin), text.size());
        const std::string_view part = text.substr(begin, comma - begin);
        begin = comma + 1;
        const std::size_t dash = std::min(part.find('-'), part.size());
        HF_TRY_ASSIGN(const std::uint32_t first, parse_cpu(part.substr(0, dash), part));
        std::uint32_t last = first;
        if (dash < part.size()) {
            HF_TRY_ASSIGN(last, parse_cpu(part.substr(dash + 1), part));
        }
        if (last < first)
            return fail(Code::invalid, "has the range {}, which ends before it begins", part);
        for (std::uint32_t cpu = first; cpu <= last; ++cpu) named[cpu] = true;
    }
    CpuSet cpus;
    for (std::uint32_t cpu = 0; cpu < cpus_max; ++cpu)
        if (named[cpu]) cpus.push_back(cpu);
    return cpus;
}

std::string format_cpu_list(const CpuSet& cpus) {
    std::string text;
    for (std::size_t i = 0; i < cpus.size();) {
        std::size_t last = i;
        while (last + 1 < cpus.size() && cpus[last + 1] == cpus[last] + 1) ++last;
        if (!text.empty()) text += ',';
        text += last == i ? fmt::to_string(cpus[i]) : fmt::format("{}-{}", cpus[i], cpus[last]);
        i = last + 1;
    }
    return text;
}

}  // namespace holdfast::cores
