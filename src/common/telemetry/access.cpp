#include "common/telemetry/access.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "common/telemetry/printable.h"

namespace holdfast::telemetry {

namespace {

constexpr std::size_t value_bytes_max = 256;

void append_text(std::string& line, std::string_view name, std::string_view value) {
    if (value.empty()) return;
    std::string printable;
    append_printable(printable, value, value_bytes_max);
    line += fmt::format(" {}=", name);
    if (printable.find_first_of(" \"=\\") == std::string::npos) {
        line += printable;
        return;
    }
    line += '"';
    for (const char c : printable) {
        if (c == '"') line += '\\';
        line += c;
    }
    line += '"';
}

template <class Number>
void append_number(std::string& line, std::string_view name, std::optional<Number> value) {
    if (value) line += fmt::format(" {}={}", name, *value);
}

void append_time(std::string& line, std::string_view name,
                 std::optional<std::chrono::milliseconds> value) {
    if (value) line += fmt::format(" {}={}", name, value->count());
}

}  // namespace

std::string render_access(const AccessRecord& record) {
    std::string line = "access";
    append_text(line, "request", record.request_id);
    append_text(line, "peer", record.peer);
    append_text(line, "method", record.method);
    append_text(line, "path", record.path.substr(0, record.path.find('?')));
    append_text(line, "model", record.model);
    line += fmt::format(" status={}", record.status);
    append_text(line, "error", record.error);
    append_text(line, "finish", record.finish);
    append_text(line, "instance", record.instance);
    if (record.attempts > 0) line += fmt::format(" attempts={}", record.attempts);
    append_text(line, "guarantee", record.guarantee);
    if (record.client_gone) line += " client_gone=true";
    append_number(line, "prompt_tokens", record.prompt_tokens);
    append_number(line, "completion_tokens", record.completion_tokens);
    append_number(line, "reasoning_tokens", record.reasoning_tokens);
    append_time(line, "queue_ms", record.queue_ms);
    append_time(line, "first_token_ms", record.first_token_ms);
    append_time(line, "total_ms", record.total_ms);
    return line;
}

void log_access(const AccessRecord& record) {
    if (spdlog::should_log(spdlog::level::info)) {
        spdlog::default_logger_raw()->log(spdlog::level::info,
                                          spdlog::string_view_t(render_access(record)));
    }
}

}  // namespace holdfast::telemetry
