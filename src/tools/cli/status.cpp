#include "tools/cli/status.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <vector>

#include "common/base/columns.h"
#include "tools/cli/service.h"

namespace holdfast::cli {
namespace {

using base::Code;
using base::fail;
using simdjson::dom::element;

// A member as text for people: "-" if it is missing or empty.
std::string text_of(const element& object, std::string_view name) {
    std::string_view text;
    std::int64_t number = 0;
    if (object[name].get(text) == simdjson::SUCCESS && !text.empty()) {
        auto clean = printable(text.substr(0, 400));
        std::ranges::replace(clean, '\n', ' ');
        return clean;
    }
    if (object[name].get(number) == simdjson::SUCCESS) return fmt::to_string(number);
    return "-";
}

std::string duration_text(double seconds) {
    const auto whole = static_cast<std::int64_t>(std::clamp(seconds, 0.0, 1e12));
    if (whole < 60) return fmt::format("{} s", whole);
    if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
    if (whole < 86'400) return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
    return fmt::format("{} d {} h", whole / 86'400, whole % 86'400 / 3600);
}

using Row = std::vector<std::string>;

int complain(int fd, std::string_view text) {
    write_text(fd, fmt::format("holdfast: {}\n", text));
    return 1;
}

}  // namespace

base::Result<std::string> status_table(std::string_view document) {
    simdjson::dom::parser parser;
    element root;
    simdjson::dom::array instances;
    if (parser.parse(document.data(), document.size()).get(root) != simdjson::SUCCESS ||
        root["instances"].get(instances) != simdjson::SUCCESS)
        return fail(Code::corrupt,
                    "the answer is no status of a holdfast service\n  next: check --url");
    static constexpr std::array<std::array<std::string_view, 2>, 9> columns{
        {{"ID", "id"},
         {"STATE", "state"},
         {"MODEL", "model"},
         {"KIND", "kind"},
         {"PID", "pid"},
         {"RESTARTS", "restarts"},
         {"RUNNING", "outstanding"},
         {"URL", "url"},
         {"REASON", "reason"}}};
    std::vector<Row> rows(1);
    for (const auto& column : columns) rows[0].emplace_back(column[0]);
    std::size_t ready = 0;
    for (const element instance : instances) {
        Row& row = rows.emplace_back();
        for (const auto& column : columns) row.push_back(text_of(instance, column[1]));
        if (row[4] == "0") row[4] = "-";  // an external instance, or one that is not running
        ready += row[1] == "ready" ? 1 : 0;
    }
    double uptime = 0;
    const bool has_uptime = root["uptime_seconds"].get(uptime) == simdjson::SUCCESS;
    return fmt::format("holdfast {}, up {}, {} of {} instances ready\n\n{}",
                       text_of(root, "version"), has_uptime ? duration_text(uptime) : "-", ready,
                       rows.size() - 1, base::align(rows, columns.size()));
}

int run_status(const StatusOptions& options, Streams streams, const base::Clock& clock) {
    const auto url = http::Url::parse_service(options.url);
    if (!url) return complain(streams.error, fmt::format("--url: {}", url.error().what));
    Service service(*url, options.api_key, clock);
    const auto document = service.get("/admin/v1/status");
    if (!document) return complain(streams.error, document.error().what);
    const auto table = status_table(*document);
    if (!table) return complain(streams.error, table.error().what);
    write_text(streams.output, options.json ? *document + "\n" : *table);
    return 0;
}

}  // namespace holdfast::cli
