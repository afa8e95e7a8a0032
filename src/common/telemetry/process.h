// What every process of Holdfast says about itself.
#pragma once

#include <string_view>

#include "common/telemetry/metrics.h"

namespace holdfast::telemetry {

// process_resident_memory_bytes, process_open_fds, process_max_fds, process_cpu_seconds_total and
// process_start_time_seconds, read at each scrape (Prometheus' usual names). Linux.
void add_process_metrics(Registry& registry);

// holdfast_build_info{version, role} = 1.
void add_build_info(Registry& registry, std::string_view version, std::string_view role);

}  // namespace holdfast::telemetry
