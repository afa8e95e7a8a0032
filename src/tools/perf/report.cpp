#include "tools/perf/report.h"

#include <fmt/format.h>

#include "common/base/columns.h"
#include "common/json/writer.h"
#include "tools/perf/samples.h"
#include "tools/perf/table.h"
#include "tools/perf/work.h"

namespace holdfast::perf {
namespace {

const char* numerics_name(const Options& options) {
    return options.native_numerics ? "native" : "portable";
}

std::string series_name(const Series& series) {
    return series.phase == Phase::prefill
               ? fmt::format("prefill {}", series.tokens)
               : fmt::format("decode {} x {}", series.batch, series.tokens);
}

// Operations per second at the series' median rate.
double operations_per_second(const Subject& subject, const Options& options, const Series& series) {
    const double middle = options.depth + (series.tokens - 1) / 2.0;
    return summarize(series.tokens_per_second).median *
           token_operations(subject.config, middle, series.phase == Phase::decode);
}

// The median over the rounds of what a decode read per second, as a share of what the same round
// could read.
double bandwidth_share(const Subject& subject, const Options& options, const Run& run,
                       const Series& series) {
    const double bytes = step_bytes(subject, options, series);
    std::vector<double> shares;
    for (std::size_t i = 0; i < series.tokens_per_second.size(); ++i)
        shares.push_back(series.tokens_per_second[i] / series.batch * bytes / run.bandwidth[i]);
    return summarize(std::move(shares)).median;
}

void write_summary(json::Writer& json, std::string_view key, const std::vector<double>& rounds) {
    const Summary summary = summarize(rounds);
    json.key(key);
    json.begin_object();
    json.number("median", summary.median);
    json.number("min", summary.min);
    json.number("max", summary.max);
    json.key("rounds");
    json.begin_array();
    for (const double one : rounds) json.number(one);
    json.end_array();
    json.end_object();
}

void write_series(json::Writer& json, const Subject& subject, const Options& options,
                  const Run& run, const Series& series) {
    json.begin_object();
    json.string("phase", series.phase == Phase::prefill ? "prefill" : "decode");
    json.number("batch", series.batch);
    json.number("tokens", series.tokens);
    write_summary(json, "tokens_per_second", series.tokens_per_second);
    json.number("operations_per_second", operations_per_second(subject, options, series));
    if (series.phase == Phase::decode) {
        json.number("step_bytes", step_bytes(subject, options, series));
        json.number("bandwidth_share", bandwidth_share(subject, options, run, series));
    }
    json.end_object();
}

}  // namespace

std::string to_table(const Subject& subject, const Options& options, const Report& report) {
    std::string out = fmt::format(
        "{}, weights {}, {} read a step, KV {}\n{}, {}, {} numerics, context {} before each test\n",
        subject.name, subject.weights, format_bytes(static_cast<double>(subject.step_weight_bytes)),
        tensor::name(options.kv_type), report.device.product, report.device.kernels,
        numerics_name(options), options.depth);
    std::vector<std::vector<std::string>> rows{
        {"THREADS", "TEST", "TOKENS/S", "MIN", "MAX", "GFLOP/S", "OF PEAK", "OF BANDWIDTH"}};
    for (const Run& run : report.runs) {
        for (const Series& one : run.series) {
            const Summary rate = summarize(one.tokens_per_second);
            const double operations = operations_per_second(subject, options, one);
            const bool decodes = one.phase == Phase::decode;
            rows.push_back(
                {fmt::to_string(run.threads), series_name(one), format_rate(rate.median),
                 format_rate(rate.min), format_rate(rate.max), format_rate(operations / 1e9),
                 run.peak
                     ? fmt::format("{:.0f} %", 100 * operations / run.peak->operations_per_second)
                     : "-",
                 decodes
                     ? fmt::format("{:.0f} %", 100 * bandwidth_share(subject, options, run, one))
                     : "-"});
        }
    }
    out += "\n" + base::align(rows, 2) + "\n";
    for (const Run& run : report.runs)
        out += fmt::format("{} thread{}: memory read at {:.1f} GB/s{}\n", run.threads,
                           run.threads == 1 ? "" : "s", summarize(run.bandwidth).median / 1e9,
                           run.peak ? fmt::format(", {} peak {:.0f} GFLOP/s", run.peak->numbers,
                                                  run.peak->operations_per_second / 1e9)
                                    : "");
    out += fmt::format(
        "Medians of {} interleaved rounds. Shares above 100 % come from caches, or from "
        "arithmetic\n"
        "on narrower numbers than float32.\n",
        options.rounds);
    if (report.stopped) out += "Stopped before all rounds were done.\n";
    return out;
}

std::string to_json(const Subject& subject, const Options& options, const Report& report) {
    std::string out;
    json::Writer json(out);
    json.begin_object();
    json.string("model", subject.name);
    json.string("weights", subject.weights);
    json.number("parameters", parameters(subject.config));
    json.number("step_weight_bytes", subject.step_weight_bytes);
    json.string("kv", tensor::name(options.kv_type));
    json.string("numerics", numerics_name(options));
    json.string("isa", report.device.kernels);
    json.string("processor", report.device.product);
    json.number("depth", options.depth);
    json.boolean("stopped", report.stopped);
    json.key("runs");
    json.begin_array();
    for (const Run& run : report.runs) {
        json.begin_object();
        json.number("threads", run.threads);
        json.string("fingerprint", run.fingerprint);
        if (run.peak)
            json.number(fmt::format("{}_peak", run.peak->numbers), run.peak->operations_per_second);
        write_summary(json, "read_bandwidth", run.bandwidth);
        json.key("tests");
        json.begin_array();
        for (const Series& one : run.series) write_series(json, subject, options, run, one);
        json.end_array();
        json.end_object();
    }
    json.end_array();
    json.end_object();
    return out + "\n";
}

}  // namespace holdfast::perf
