#include "tools/perf/machine.h"

#include <sys/utsname.h>

#include <fstream>

#include "common/cores/machine.h"

namespace holdfast::perf {

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

std::uint32_t processor_threads() { return cores::this_machine().threads(); }

}  // namespace holdfast::perf
