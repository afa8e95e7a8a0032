#include "tools/hub/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "common/json/writer.h"
#include "tools/hub/progress.h"

namespace holdfast::hub {
namespace {

std::string_view name_of(Pulled::State state) {
    switch (state) {
        case Pulled::State::complete:
            return "complete";
        case Pulled::State::partial:
            return "partial";
        case Pulled::State::damaged:
            return "damaged";
    }
    std::unreachable();
}

// "main (a1b2c3d4)", or as much of it as is known.
std::string revision_of(const Manifest& manifest) {
    const auto commit = manifest.commit.substr(0, 8);
    if (manifest.revision.empty() || manifest.commit.starts_with(manifest.revision))
        return commit.empty() ? "-" : commit;
    return commit.empty() ? manifest.revision : fmt::format("{} ({})", manifest.revision, commit);
}

}  // namespace

std::string models_table(const std::vector<Pulled>& models) {
    if (models.empty()) return "no models; `holdfast pull ORG/NAME` gets one\n";
    using Row = std::array<std::string, 5>;
    std::vector<Row> rows{{"MODEL", "REVISION", "SIZE", "STATE", "PATH"}};
    for (const Pulled& one : models) {
        const auto& file = one.manifest.file;
        rows.push_back({one.manifest.repo + (file.empty() ? "" : ":" + file),
                        revision_of(one.manifest), format_size(one.bytes),
                        std::string(name_of(one.state)), one.path});
    }
    std::array<std::size_t, 5> widths{};
    for (const Row& row : rows)
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    std::string out;
    for (const Row& row : rows) {
        for (std::size_t i = 0; i + 1 < row.size(); ++i)
            out += fmt::format("{:<{}}  ", row[i], widths[i]);
        out += row.back() + '\n';
    }
    return out;
}

std::string models_json(const std::vector<Pulled>& models) {
    std::string out;
    json::Writer json(out);
    json.begin_array();
    for (const Pulled& one : models) {
        json.begin_object();
        json.string("repo", one.manifest.repo);
        json.string("revision", one.manifest.revision);
        json.string("commit", one.manifest.commit);
        json.string("file", one.manifest.file);
        json.string("endpoint", one.manifest.endpoint);
        json.string("state", name_of(one.state));
        json.number("bytes", one.bytes);
        json.number("pulled_at", one.manifest.pulled_at);
        json.string("path", one.path);
        json.end_object();
    }
    json.end_array();
    return out + '\n';
}

}  // namespace holdfast::hub
