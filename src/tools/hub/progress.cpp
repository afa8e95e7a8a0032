#include "tools/hub/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string_view>

namespace holdfast::hub {
namespace {

using std::chrono::milliseconds;

std::string format_time(double seconds) {
    const auto whole = static_cast<std::int64_t>(std::min(seconds, 1e9));
    if (whole < 60) return fmt::format("{} s", whole);
    if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
    return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

}  // namespace

std::string format_size(std::uint64_t bytes) {
    constexpr std::array<std::string_view, 5> units{"KiB", "MiB", "GiB", "TiB", "PiB"};
    if (bytes < 1024) return fmt::format("{} B", bytes);
    double value = static_cast<double>(bytes) / 1024;
    std::size_t unit = 0;
    for (; value >= 1024 && unit + 1 < units.size(); ++unit) value /= 1024;
    return fmt::format("{:.1f} {}", value, units[unit]);
}

std::string ProgressLine::update(const Progress& progress) {
    const auto now = clock_.now();
    if (samples_.empty() || now - samples_.back().at >= milliseconds(100))
        samples_.push_back({now, progress.bytes_done});
    while (samples_.size() > 2 && now - samples_.front().at > milliseconds(10'000))
        samples_.pop_front();
    // What a retry threw away makes no negative rate.
    const Sample& first = samples_.front();
    const auto bytes = progress.bytes_done - std::min(first.bytes, progress.bytes_done);
    const double seconds = std::chrono::duration<double>(now - first.at).count();
    const double rate = seconds > 0 ? static_cast<double>(bytes) / seconds : 0;
    const auto left = progress.bytes_total - progress.bytes_done;
    const auto percent = progress.bytes_total == 0
                             ? 100.0
                             : 100.0 * static_cast<double>(progress.bytes_done) /
                                   static_cast<double>(progress.bytes_total);
    auto line = fmt::format("{:3.0f} %  {} of {}, {} of {} files", std::min(percent, 100.0),
                            format_size(progress.bytes_done), format_size(progress.bytes_total),
                            progress.files_done, progress.files_total);
    if (left == 0) return line + (progress.files_done < progress.files_total ? ", checking" : "");
    if (rate < 1) return line;
    return line + fmt::format(", {}/s, {} left", format_size(static_cast<std::uint64_t>(rate)),
                              format_time(static_cast<double>(left) / rate));
}

}  // namespace holdfast::hub
