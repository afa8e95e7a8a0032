#include "tools/plan/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/columns.h"
#include "common/json/writer.h"
#include "tools/perf/table.h"

namespace holdfast::plan {
namespace {

using perf::format_bytes;
using perf::format_rate;
using Rows = std::vector<std::vector<std::string>>;

std::string describe(const Hardware& hardware) {
    std::string out =
        fmt::format("{}: {} of memory{}, {:.1f} GB/s", hardware.name,
                    format_bytes(static_cast<double>(hardware.memory_bytes)),
                    hardware.is_processor ? " available" : "", hardware.bytes_per_second / 1e9);
    if (hardware.operations_per_second)
        out +=
            fmt::format(", {} {} peak",
                        hardware.is_processor
                            ? fmt::format("{:.0f} GFLOP/s", *hardware.operations_per_second / 1e9)
                            : fmt::format("{:.0f} TFLOP/s", *hardware.operations_per_second / 1e12),
                        hardware.is_processor ? "float32" : "16-bit");
    if (hardware.is_processor) out += fmt::format(" with {} threads", hardware.threads);
    return out + "\n";
}

std::string describe(const Wish& wish) {
    return fmt::format("{} of {} tokens, keys and values in {}\n",
                       wish.sequences ? fmt::format("{} sequence{}", *wish.sequences,
                                                    *wish.sequences == 1 ? "" : "s")
                                      : std::string("As many sequences as fit"),
                       wish.context, tensor::name(wish.kv_type));
}

std::vector<std::string> rate_cells(const Estimate& one) {
    return {format_rate(one.single_per_second), format_rate(one.limit_per_second),
            format_rate(one.full_per_second),
            one.prefill_per_second ? format_rate(*one.prefill_per_second) : "-"};
}

std::vector<std::string> memory_cells(const Estimate& one) {
    return {format_bytes(one.memory.weights), format_bytes(one.memory.kv),
            format_bytes(one.memory.working), format_bytes(one.memory.overhead),
            format_bytes(one.memory.total())};
}

void append(std::vector<std::string>& row, std::vector<std::string> cells) {
    row.insert(row.end(), std::make_move_iterator(cells.begin()),
               std::make_move_iterator(cells.end()));
}

// Prices have no currency: the numbers are in whatever the person's are.
std::string cost_line(std::string_view name, const Prices& prices, const Estimate& one) {
    const Cost money = cost(prices, one.full_per_second);
    std::string out = fmt::format("{}: {:.4g} an hour, {:.4g} per million tokens at {:.0f} % use",
                                  name, money.hour, money.million_tokens, 100 * prices.utilization);
    if (!money.break_even_tokens_per_month) return out + "\n";
    const double millions = *money.break_even_tokens_per_month / 1e6;
    out += money.can_break_even()
               ? fmt::format("; cheaper than the API from {:.4g} million tokens a month", millions)
               : fmt::format(
                     "; never cheaper than the API: that takes {:.4g} million tokens a "
                     "month, and it makes {:.4g} at most",
                     millions, money.tokens_per_month_max / 1e6);
    return out + "\n";
}

std::string notes(const Plan& plan) {
    std::string out =
        "\nTokens per second: one sequence alone (its limit if only bandwidth counted), all "
        "sequences\ntogether, and prompts of 512 tokens; every sequence at its full length.\n";
    for (const std::string_view line : assumptions(plan.hardware)) out += fmt::format("{}\n", line);
    return out;
}

std::string detailed(const Plan& plan, const Candidate& candidate) {
    const double kv =
        perf::kv_bytes_per_token(*plan.hardware.device, candidate.config, plan.wish.kv_type);
    const auto parameters = static_cast<double>(perf::parameters(candidate.config));
    const std::string size = parameters < 1e8 ? fmt::format("{:.2f} million", parameters / 1e6)
                                              : fmt::format("{:.3f} billion", parameters / 1e9);
    std::string out = fmt::format(
        "{}: {} parameters, context up to {}, {:.0f} bytes of keys and values a token\n{}{}\n",
        candidate.name, size, candidate.config.context, kv, describe(plan.hardware),
        describe(plan.wish));
    Rows rows{{"PRECISION", "FITS", "SEQUENCES", "WEIGHTS", "KV", "WORKING", "OVERHEAD", "TOTAL",
               "TOKENS/S", "LIMIT", "ALL", "PREFILL"}};
    std::string costs;
    for (const auto& [precision, bytes] : candidate.precisions) {
        const Estimate one = estimate(candidate.config, bytes, plan.hardware, plan.wish);
        auto& row = rows.emplace_back();
        append(row, {precision, one.fits ? "yes" : "no", fmt::to_string(one.sequences)});
        append(row, memory_cells(one));
        append(row, one.fits ? rate_cells(one) : std::vector<std::string>(4, "-"));
        if (plan.prices && one.fits) costs += cost_line(precision, *plan.prices, one);
    }
    out += base::align(rows, 2) + notes(plan);
    return costs.empty() ? out : out + "\n" + costs;
}

std::string overview(const Plan& plan) {
    Rows rows{{"MODEL", "PRECISION", "SEQUENCES", "WEIGHTS", "TOTAL", "TOKENS/S", "LIMIT", "ALL",
               "PREFILL"}};
    std::string costs, missing;
    for (const Candidate& candidate : plan.candidates) {
        bool any = false;
        double least = 0;
        for (const auto& [precision, bytes] : candidate.precisions) {
            const Estimate one = estimate(candidate.config, bytes, plan.hardware, plan.wish);
            least = least == 0 ? one.memory.total() : std::min(least, one.memory.total());
            if (!one.fits) continue;
            any = true;
            auto& row = rows.emplace_back();
            append(row, {candidate.name, precision, fmt::to_string(one.sequences),
                         format_bytes(one.memory.weights), format_bytes(one.memory.total())});
            append(row, rate_cells(one));
            if (plan.prices)
                costs +=
                    cost_line(fmt::format("{} {}", candidate.name, precision), *plan.prices, one);
        }
        if (!any)
            missing += fmt::format("{} does not fit: it needs {} at least\n", candidate.name,
                                   format_bytes(least));
    }
    std::string out = describe(plan.hardware) + describe(plan.wish) + "\n";
    out += (rows.size() > 1 ? base::align(rows, 2) : std::string()) + missing + notes(plan);
    return costs.empty() ? out : out + "\n" + costs;
}

void write_hardware(json::Writer& json, const Hardware& hardware) {
    json.key("hardware");
    json.begin_object();
    json.string("name", hardware.name);
    json.number("memory_bytes", hardware.memory_bytes);
    json.number("bytes_per_second", hardware.bytes_per_second);
    if (hardware.operations_per_second)
        json.number("operations_per_second", *hardware.operations_per_second);
    json.boolean("is_processor", hardware.is_processor);
    if (hardware.is_processor) json.number("threads", hardware.threads);
    json.end_object();
}

void write_cost(json::Writer& json, const Prices& prices, double full_per_second) {
    const Cost money = cost(prices, full_per_second);
    json.key("cost");
    json.begin_object();
    json.number("hour", money.hour);
    json.number("million_tokens", money.million_tokens);
    json.number("tokens_per_month_max", money.tokens_per_month_max);
    if (money.break_even_tokens_per_month) {
        json.number("break_even_tokens_per_month", *money.break_even_tokens_per_month);
        json.boolean("can_break_even", money.can_break_even());
    }
    json.end_object();
}

void write_estimate(json::Writer& json, std::string_view precision, const Estimate& one,
                    const std::optional<Prices>& prices) {
    json.begin_object();
    json.string("weights", precision);
    json.boolean("fits", one.fits);
    json.number("sequences", one.sequences);
    json.number("kv_bytes_per_token", one.kv_bytes_per_token);
    json.key("memory_bytes");
    json.begin_object();
    json.number("weights", one.memory.weights);
    json.number("kv", one.memory.kv);
    json.number("working", one.memory.working);
    json.number("overhead", one.memory.overhead);
    json.number("total", one.memory.total());
    json.end_object();
    json.key("tokens_per_second");
    json.begin_object();
    json.number("single", one.single_per_second);
    json.number("single_limit", one.limit_per_second);
    json.number("all", one.full_per_second);
    if (one.prefill_per_second) json.number("prefill", *one.prefill_per_second);
    json.end_object();
    if (prices && one.fits) write_cost(json, *prices, one.full_per_second);
    json.end_object();
}

}  // namespace

std::string to_table(const Plan& plan) {
    return plan.candidates.size() == 1 ? detailed(plan, plan.candidates[0]) : overview(plan);
}

std::string to_json(const Plan& plan) {
    std::string out;
    json::Writer json(out);
    json.begin_object();
    write_hardware(json, plan.hardware);
    json.number("context", plan.wish.context);
    json.string("kv", tensor::name(plan.wish.kv_type));
    json.key("models");
    json.begin_array();
    for (const Candidate& candidate : plan.candidates) {
        json.begin_object();
        json.string("name", candidate.name);
        json.number("parameters", perf::parameters(candidate.config));
        json.number("context_max", candidate.config.context);
        json.key("precisions");
        json.begin_array();
        for (const auto& [precision, bytes] : candidate.precisions)
            write_estimate(json, precision,
                           estimate(candidate.config, bytes, plan.hardware, plan.wish),
                           plan.prices);
        json.end_array();
        json.end_object();
    }
    json.end_array();
    json.key("assumptions");
    json.begin_array();
    for (const std::string_view line : assumptions(plan.hardware)) json.string(line);
    json.end_array();
    json.end_object();
    return out + "\n";
}

}  // namespace holdfast::plan
