#include "common/telemetry/process.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace holdfast::telemetry {

namespace {

double resident_bytes() {
    std::ifstream file("/proc/self/statm");
    double total_pages = 0, resident_pages = 0;
    file >> total_pages >> resident_pages;
    return resident_pages * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

// At the limit of descriptors /proc/self/fd cannot be opened: then the limit is the answer.
double open_descriptors(double limit) {
    std::error_code error;
    std::filesystem::directory_iterator entry("/proc/self/fd", error);
    if (error) return limit;
    double count = 0;
    for (const std::filesystem::directory_iterator end; entry != end && !error;
         entry.increment(error)) {
        ++count;
    }
    return count - 1;  // without the descriptor that lists them
}

double descriptors_max() {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return static_cast<double>(limit.rlim_cur);
}

double cpu_seconds() {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Field 22 of proc(5)'s stat, ticks since boot, made a wall-clock time. The command's name is in
// parentheses and may hold spaces and parentheses itself, hence the search from the end.
double start_seconds() {
    std::ifstream file("/proc/self/stat");
    std::stringstream text;
    text << file.rdbuf();
    const std::string stat = text.str();
    std::istringstream fields(stat.substr(stat.rfind(')') + 1));
    std::string skipped;
    for (int field = 3; field < 22; ++field) fields >> skipped;
    double ticks = 0;
    fields >> ticks;

    double uptime_seconds = 0;
    std::ifstream("/proc/uptime") >> uptime_seconds;
    const double now =
        std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    return now - uptime_seconds + ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

void add_process_metrics(Registry& registry) {
    Gauge& resident = registry.gauge("process_resident_memory_bytes", "Resident memory size.");
    Gauge& open = registry.gauge("process_open_fds", "Open file descriptors.");
    Gauge& max = registry.gauge("process_max_fds", "Limit of open file descriptors.");
    Gauge& cpu =
        registry.mirrored_counter("process_cpu_seconds_total", "User and system CPU time spent.");
    registry.gauge("process_start_time_seconds", "Start of the process since 1970.")
        .set(start_seconds());
    registry.on_collect([&resident, &open, &max, &cpu] {
        resident.set(resident_bytes());
        max.set(descriptors_max());
        open.set(open_descriptors(max.value()));
        cpu.set(cpu_seconds());
    });
}

void add_build_info(Registry& registry, std::string_view version, std::string_view role) {
    registry
        .gauge("holdfast_build_info", "Always 1; the labels tell version and role.",
               {{"version", std::string(version)}, {"role", std::string(role)}})
        .set(1);
}

}  // namespace holdfast::telemetry
