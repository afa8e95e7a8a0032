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
    line.append(" ").append(name).append("=");
    const std::size_t begin = line.size();
    append_printable(line, value, value_bytes_max);
    if (line.find_first_of(" \"=\\", begin) == std::string::npos) return;
    const std::string printable = line.substr(begin);
    line.resize(begin);
    line += '"';
    for (const char c : printable) {
        if (c == '"') line += '\\';
        line += c;
    }
    line += '"';
}

template <class Number>
void append_number(std::string& line, std::string_view name, std::optional<Number> value) {
    if (value) line.append(" ").append(name).append("=").append(fmt::format_int(*value).c_str());
}

void append_time(std::string& line, std::string_view name,
                 std::optional<std::chrono::milliseconds> value) {
    if (value) append_number(line, name, std::optional(value->count()));
}

}  // namespace

std::string render_access(const AccessRecord& record) {
    std::string line;
    line.reserve(512);
    line = "access";
    append_text(line, "request", record.request_id);
    append_text(line, "peer", record.peer);
    append_text(line, "method", record.method);
    append_text(line, "path", record.path.substr(0, record.path.find('?')));
    append_text(line, "model", record.model);
    append_number(line, "status", std::optional(record.status));
    append_text(line, "error", record.error);
    append_text(line, "finish", record.finish);
    append_text(line, "instance", record.instance);
    if (record.attempts > 0) append_number(line, "attempts", std::optional(record.attempts));
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
