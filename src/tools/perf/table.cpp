#include "tools/perf/table.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace holdfast::perf {

std::string format_rate(double value) {
    if (value < 10) return fmt::format("{:.2f}", value);
    if (value < 100) return fmt::format("{:.1f}", value);
    return fmt::format("{:.0f}", value);
}

std::string format_bytes(double bytes) {
    static constexpr std::array<std::string_view, 5> units{"B", "kB", "MB", "GB", "TB"};
    std::size_t unit = 0;
    for (; bytes >= 1'000 && unit + 1 < units.size(); ++unit) bytes /= 1'000;
    return fmt::format("{} {}", unit == 0 ? fmt::format("{:.0f}", bytes) : format_rate(bytes),
                       units[unit]);
}

}  // namespace holdfast::perf
