#include "common/base/suggest.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace holdfast::base {

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = std::min({replaced, last[j] + 1, row[j - 1] + 1});
            const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
        }
        std::swap(before_last, last);
        std::swap(last, row);
    }
    return last[b.size()];
}

std::optional<std::string_view> nearest(std::string_view wrong,
                                        std::span<const std::string> candidates) {
    constexpr std::size_t length_max = 100;  // nobody mistypes a longer name: do no work for it
    if (wrong.empty() || wrong.size() > length_max) return std::nullopt;
    std::optional<std::string_view> best;
    std::size_t best_distance = std::max<std::size_t>(2, wrong.size() / 3) + 1;
    for (const std::string& candidate : candidates) {
        std::size_t distance = edit_distance(wrong, candidate);
        // A name without its section, or under a wrong one.
        const auto tail = candidate.rfind('.');
        const auto wrong_tail = wrong.rfind('.');
        if (tail != std::string::npos) {
            const auto written =
                wrong_tail == std::string_view::npos ? wrong : wrong.substr(wrong_tail + 1);
            distance = std::min(distance, 1 + edit_distance(written, candidate.substr(tail + 1)));
        }
        if (distance < best_distance) {
            best = candidate;
            best_distance = distance;
        }
    }
    return best;
}

std::string suggestion(std::string_view wrong, std::span<const std::string> candidates) {
    const auto meant = nearest(wrong, candidates);
    return meant ? fmt::format("; did you mean \"{}\"?", *meant) : std::string();
}

}  // namespace holdfast::base
