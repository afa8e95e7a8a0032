// Counters, gauges and histograms, printed in Prometheus' text format 0.0.4. Registered once at
// start by name and labels; updating one is a relaxed atomic operation. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::telemetry {

using Labels = std::vector<std::pair<std::string, std::string>>;

class Counter {
public:
    void add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
    std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_{0};
};

class Gauge {
public:
    void set(double value) { value_.store(value, std::memory_order_relaxed); }
    void add(double by) { value_.fetch_add(by, std::memory_order_relaxed); }
    double value() const { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<double> value_{0};
};

class Histogram {
public:
    explicit Histogram(std::span<const double> upper_bounds);
    void observe(double value);  // a NaN counts as above every bound and leaves the sum alone

private:
    friend class Registry;
    std::vector<double> bounds_;
    std::deque<std::atomic<std::uint64_t>> counts_;  // one more than bounds
    std::atomic<double> sum_{0};
};

// vLLM's bucket bounds, seconds.
std::span<const double> first_token_bounds();
std::span<const double> token_gap_bounds();
std::span<const double> request_bounds();

// References stay valid as long as the registry. The same name and labels (in any order) give the
// same object; a name keeps one kind, its first help text and at most `series_max` label sets
// (more: the last set is shared under the label value "other", so that no input can grow memory
// without bound). Label values are cut at `value_bytes_max` and made valid UTF-8. A wrong metric or
// label name, or one name used for two kinds, is a bug and asserted.
class Registry {
public:
    static constexpr std::size_t series_max = 1000;
    static constexpr std::size_t value_bytes_max = 256;

    Counter& counter(std::string_view name, std::string_view help, Labels labels = {});
    Gauge& gauge(std::string_view name, std::string_view help, Labels labels = {});
    // A counter whose total is kept elsewhere and may be fractional, such as CPU seconds: printed
    // as a counter, set like a gauge by `on_collect` or by whoever keeps the total.
    Gauge& mirrored_counter(std::string_view name, std::string_view help, Labels labels = {});
    // `bounds` are inclusive upper bounds, rising, without infinity.
    Histogram& histogram(std::string_view name, std::string_view help,
                         std::span<const double> bounds, Labels labels = {});
    // Called before each scrape on the scraping thread, one scrape at a time, to set gauges that
    // mirror other state. May register metrics; must not render.
    void on_collect(std::function<void()> collect);
    // Prometheus' text format 0.0.4 (content type below), families in the order of their names.
    std::string render();

private:
    struct Series {
        Counter counter;
        Gauge gauge;
        std::deque<Histogram> histogram;  // 0 or 1
    };
    enum class Kind { counter, gauge, mirrored_counter, histogram };
    struct Family {
        Kind kind;
        std::string help;
        std::map<Labels, Series> series;
        Series* overflow = nullptr;  // the shared last one, once there is one
    };
    // Both with mutex_ held.
    Series& series(std::string_view name, std::string_view help, Kind kind, Labels labels);
    static void render_series(std::string& out, std::string_view name, Kind kind,
                              const Labels& labels, const Series& series);
    static void render_histogram(std::string& out, std::string_view name, const Labels& labels,
                                 const Histogram& histogram);

    std::mutex mutex_;
    std::mutex collect_mutex_;  // taken before mutex_
    std::map<std::string, Family, std::less<>> families_;
    std::vector<std::function<void()>> collectors_;
};

inline constexpr std::string_view metrics_content_type = "text/plain; version=0.0.4; charset=utf-8";

}  // namespace holdfast::telemetry
