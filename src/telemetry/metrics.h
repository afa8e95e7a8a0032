// Counters, gauges and histograms, printed in Prometheus' text format 0.0.4. Registered once at
// start by name and labels; updating one is a relaxed atomic operation. Any thread.
#pragma once

#include <atomic>
#include <deque>
#include <cstdint>
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
    void observe(double value);

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

// References stay valid as long as the registry. The same name and labels give the same object;
// a name keeps one kind, one help text and at most `series_max` label sets (more: the last set is
// shared under the label value "other", so that no input can grow memory without bound).
class Registry {
public:
    Counter& counter(std::string_view name, std::string_view help, Labels labels = {});
    Gauge& gauge(std::string_view name, std::string_view help, Labels labels = {});
    Histogram& histogram(std::string_view name, std::string_view help,
                         std::span<const double> bounds, Labels labels = {});
    // Called before each scrape, to set gauges that mirror other state.
    void on_collect(std::function<void()> collect);
    std::string render();

private:
    struct Series {
        Labels labels;
        Counter counter;
        Gauge gauge;
        std::deque<Histogram> histogram;  // 0 or 1
    };
    enum class Kind { counter, gauge, histogram };
    struct Family {
        Kind kind;
        std::string help;
        std::deque<Series> series;
    };
    Series& series(std::string_view name, std::string_view help, Kind kind, Labels labels);
    static constexpr std::size_t series_max = 1000;
    std::mutex mutex_;
    std::map<std::string, Family, std::less<>> families_;
    std::vector<std::function<void()>> collectors_;
};

}  // namespace holdfast::telemetry
