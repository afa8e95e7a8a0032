// The access log: one line per exchange, fields as name=value. It never holds a key, a prompt or an
// answer, nor a path's query, where people put keys.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast::telemetry {

// Absent and empty fields are left out of the line.
struct AccessRecord {
    std::string_view request_id;
    std::string_view peer;  // the client's address
    std::string_view method, path;
    std::string_view model;
    int status = 0;
    std::string_view error;     // the stable word of the error, such as "deadline_exceeded"
    std::string_view finish;    // finish reason
    std::string_view instance;  // the one that ended the answer
    std::uint32_t attempts = 0;
    std::string_view guarantee;  // "exact", "exact-text", "same-model", "restart"
    bool client_gone = false;
    std::optional<std::uint32_t> prompt_tokens, completion_tokens, reasoning_tokens;
    std::optional<std::chrono::milliseconds> queue_ms, first_token_ms;
    std::chrono::milliseconds total_ms{0};
};

// "access request=... method=POST path=/v1/models status=200 ...". Values with spaces, quotes
// or control characters are quoted and escaped.
std::string render_access(const AccessRecord& record);

// Writes the line to the log, level info.
void log_access(const AccessRecord& record);

}  // namespace holdfast::telemetry
