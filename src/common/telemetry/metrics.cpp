#include "common/telemetry/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "common/base/assert.h"
#include "common/telemetry/printable.h"

namespace holdfast::telemetry {

namespace {

bool is_name(std::string_view text, bool colon_allowed) {
    const auto is_letter = [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
               (colon_allowed && c == ':');
    };
    return !text.empty() && is_letter(text[0]) && std::ranges::all_of(text, [&](char c) {
        return is_letter(c) || (c >= '0' && c <= '9');
    });
}

void append_escaped(std::string& out, std::string_view text, bool quote) {
    for (const char c : text) {
        if (c == '\\') {
            out += "\\\\";
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '"' && quote) {
            out += "\\\"";
        } else {
            out += c;
        }
    }
}

std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
    return fmt::format("{}", value);
}

// `bound` is the text of a bucket's `le` label, empty for none.
void append_sample(std::string& out, std::string_view name, std::string_view suffix,
                   const Labels& labels, std::string_view bound, std::string_view value) {
    out += name;
    out += suffix;
    char separator = '{';
    const auto append_label = [&](std::string_view label, std::string_view text) {
        out += separator;
        out += label;
        out += "=\"";
        append_escaped(out, text, true);
        out += '"';
        separator = ',';
    };
    for (const auto& [label, text] : labels) append_label(label, text);
    if (!bound.empty()) append_label("le", bound);
    if (separator == ',') out += '}';
    out += ' ';
    out += value;
    out += '\n';
}

// Of vLLM's vllm/v1/metrics/loggers.py, so that existing dashboards and alerts compare.
constexpr std::array first_token_seconds{0.001, 0.005, 0.01, 0.02, 0.04, 0.06,  0.08, 0.1,
                                         0.25,  0.5,   0.75, 1.0,  2.5,  5.0,   7.5,  10.0,
                                         20.0,  40.0,  80.0, 160., 640., 2560.0};
constexpr std::array token_gap_seconds{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2,  0.3,  0.4, 0.5,
                                       0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20.0, 40.0, 80.0};
constexpr std::array request_seconds{0.3,  0.5,  0.8,  1.0,  1.5,   2.0,   2.5,
                                     5.0,  10.0, 15.0, 20.0, 30.0,  40.0,  50.0,
                                     60.0, 120., 240., 480., 960.0, 1920., 7680.0};

}  // namespace

std::span<const double> first_token_bounds() { return first_token_seconds; }
std::span<const double> token_gap_bounds() { return token_gap_seconds; }
std::span<const double> request_bounds() { return request_seconds; }

Histogram::Histogram(std::span<const double> upper_bounds)
    : bounds_(upper_bounds.begin(), upper_bounds.end()), counts_(upper_bounds.size() + 1) {
    HF_ASSERT(std::ranges::adjacent_find(bounds_, std::greater_equal{}) == bounds_.end());
    HF_ASSERT(std::ranges::all_of(bounds_, [](double bound) { return std::isfinite(bound); }));
}

void Histogram::observe(double value) {
    const auto bucket =
        std::isnan(value) ? bounds_.end() : std::ranges::lower_bound(bounds_, value);
    counts_[static_cast<std::size_t>(bucket - bounds_.begin())].fetch_add(
        1, std::memory_order_relaxed);
    if (!std::isnan(value)) sum_.fetch_add(value, std::memory_order_relaxed);
}

Registry::Series& Registry::series(std::string_view name, std::string_view help, Kind kind,
                                   Labels labels) {
    HF_ASSERT(is_name(name, true));
    for (auto& [label, value] : labels) {
        HF_ASSERT(is_name(label, false) && !(kind == Kind::histogram && label == "le"));
        // A scraper drops the whole page for one bad byte, and values may stem from outside.
        value = valid_utf8(value, value_bytes_max);
    }
    std::ranges::sort(labels);

    auto found = families_.find(name);
    if (found == families_.end()) {
        found = families_.try_emplace(std::string(name), Family{kind, std::string(help), {}}).first;
    }
    Family& family = found->second;
    HF_ASSERT(family.kind == kind);
    if (const auto known = family.series.find(labels); known != family.series.end()) {
        return known->second;
    }
    if (family.overflow != nullptr) return *family.overflow;
    if (family.series.size() + 1 < series_max) return family.series[std::move(labels)];
    for (auto& [label, value] : labels) value = "other";
    family.overflow = &family.series[std::move(labels)];
    return *family.overflow;
}

Counter& Registry::counter(std::string_view name, std::string_view help, Labels labels) {
    const std::scoped_lock lock(mutex_);
    return series(name, help, Kind::counter, std::move(labels)).counter;
}

Gauge& Registry::gauge(std::string_view name, std::string_view help, Labels labels) {
    const std::scoped_lock lock(mutex_);
    return series(name, help, Kind::gauge, std::move(labels)).gauge;
}

Gauge& Registry::mirrored_counter(std::string_view name, std::string_view help, Labels labels) {
    const std::scoped_lock lock(mutex_);
    return series(name, help, Kind::mirrored_counter, std::move(labels)).gauge;
}

Histogram& Registry::histogram(std::string_view name, std::string_view help,
                               std::span<const double> bounds, Labels labels) {
    const std::scoped_lock lock(mutex_);
    Series& found = series(name, help, Kind::histogram, std::move(labels));
    if (found.histogram.empty()) found.histogram.emplace_back(bounds);
    return found.histogram.front();
}

void Registry::on_collect(std::function<void()> collect) {
    const std::scoped_lock lock(mutex_);
    collectors_.push_back(std::move(collect));
}

std::string Registry::render() {
    const std::scoped_lock collecting(collect_mutex_);
    std::vector<std::function<void()>> collectors;
    {
        const std::scoped_lock lock(mutex_);
        collectors = collectors_;
    }
    for (const auto& collect : collectors) collect();

    const std::scoped_lock lock(mutex_);
    std::string out;
    for (const auto& [name, family] : families_) {
        constexpr std::array<std::string_view, 4> types{"counter", "gauge", "counter", "histogram"};
        out += fmt::format("# HELP {} ", name);
        append_escaped(out, family.help, false);
        out += fmt::format("\n# TYPE {} {}\n", name, types[static_cast<std::size_t>(family.kind)]);
        for (const auto& [labels, series] : family.series) {
            render_series(out, name, family.kind, labels, series);
        }
    }
    return out;
}

void Registry::render_series(std::string& out, std::string_view name, Kind kind,
                             const Labels& labels, const Series& series) {
    switch (kind) {
        case Kind::counter:
            append_sample(out, name, "", labels, "", fmt::format("{}", series.counter.value()));
            break;
        case Kind::gauge:
        case Kind::mirrored_counter:
            append_sample(out, name, "", labels, "", number(series.gauge.value()));
            break;
        case Kind::histogram:
            render_histogram(out, name, labels, series.histogram.front());
            break;
    }
}

// The count is the last bucket's, added up from one reading of each bucket: the page is consistent
// in itself although other threads go on observing.
void Registry::render_histogram(std::string& out, std::string_view name, const Labels& labels,
                                const Histogram& histogram) {
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < histogram.counts_.size(); ++i) {
        below += histogram.counts_[i].load(std::memory_order_relaxed);
        const bool last = i == histogram.bounds_.size();
        append_sample(out, name, "_bucket", labels, last ? "+Inf" : number(histogram.bounds_[i]),
                      fmt::format("{}", below));
    }
    append_sample(out, name, "_sum", labels, "",
                  number(histogram.sum_.load(std::memory_order_relaxed)));
    append_sample(out, name, "_count", labels, "", fmt::format("{}", below));
}

}  // namespace holdfast::telemetry
