// The process's log: one line per message on one descriptor, written by a thread of its own, so
// that no request ever waits for a disk, a terminal or a stopped reader of a pipe.
#pragma once

#include <spdlog/common.h>
#include <spdlog/logger.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "common/telemetry/metrics.h"

namespace holdfast::telemetry {

struct LogOptions {
    spdlog::level::level_enum level = spdlog::level::info;
    std::string role;  // "gateway", "worker a", ...: stands in every line
    int fd = 2;        // standard error; duplicated, so the caller may close it
    std::size_t queue_bytes_max = 4 << 20;         // above: lines are dropped and counted
    std::chrono::milliseconds close_ms_max{1000};  // longest wait for the target at the end
};

// "trace", "debug", "info", "warning" or "error".
base::Result<spdlog::level::level_enum> parse_log_level(std::string_view text);
// The word for it; what lies above "error" is "critical".
std::string_view log_level_name(spdlog::level::level_enum level);

// While it lives it is spdlog's default logger, so every room just says spdlog::info(...). A line
// is
//
//     2026-11-23T12:18:58.123Z info gateway: instance b is ready
//
// with control characters escaped (nobody forges a second line), at most `line_bytes_max` long so
// that lines of several processes on one pipe do not mix (PIPE_BUF). What the target refuses (disk
// full, reader gone) and what does not fit into the queue is dropped, counted, and told in a line
// of its own once lines get through again. Logging and the counts: any thread. Construct and
// destroy on one thread; the destructor waits close_ms_max for a blocked target, then gives up.
class Log {
public:
    static constexpr std::size_t line_bytes_max = 4096;

    explicit Log(const LogOptions& options);
    ~Log();
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;

    std::uint64_t dropped_lines() const;
    // Exports holdfast_log_dropped_lines_total. The registry must not render after the Log's end.
    void add_metrics(Registry& registry) const;
    // Waits until everything logged before is written or dropped. False when `wait` passed first.
    bool flush(std::chrono::milliseconds wait);

private:
    class Sink;
    std::shared_ptr<Sink> sink_;
    std::shared_ptr<spdlog::logger> previous_;
};

}  // namespace holdfast::telemetry
