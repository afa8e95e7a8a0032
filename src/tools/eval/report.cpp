#include "tools/eval/report.h"

#include <fmt/format.h>

#include "common/base/columns.h"
#include "common/json/writer.h"

namespace holdfast::eval {
namespace {

using Rows = std::vector<std::vector<std::string>>;

const Scores& reference(const Task& task, const Result& result) {
    return task.recorded ? result.scores.back() : result.scores.front();
}

double mean_divergence(const Agreement& agreement) {
    return agreement.divergence_sum / static_cast<double>(agreement.positions);
}

double same_share(const Agreement& agreement) {
    return static_cast<double>(agreement.same_top) / static_cast<double>(agreement.positions);
}

std::vector<std::string> cells(const Scores& scores, const Scores& base) {
    const bool reads = scores.likelihood.positions > 0;
    std::vector<std::string> row{scores.name};
    row.push_back(reads ? fmt::format("{:.4f}", scores.likelihood.perplexity()) : "-");
    row.push_back(
        reads ? fmt::format("{:.4f}", scores.likelihood.perplexity() / base.likelihood.perplexity())
              : "-");
    if (scores.agreement) {
        row.push_back(fmt::format("{:.6f}", mean_divergence(*scores.agreement)));
        row.push_back(fmt::format("{:.4f}", scores.agreement->worst));
        row.push_back(fmt::format("{:.2f} %", 100 * same_share(*scores.agreement)));
    } else {
        row.insert(row.end(), 3, "-");
    }
    if (scores.accuracy) {
        row.push_back(fmt::format("{}/{}", scores.accuracy->right, scores.accuracy->all));
        row.push_back(fmt::format("{:.1f} %", 100 * scores.accuracy->share()));
        row.push_back(
            base.accuracy && base.accuracy->right > 0
                ? fmt::format("{:.1f} %", 100 * scores.accuracy->share() / base.accuracy->share())
                : "-");
    } else {
        row.insert(row.end(), 3, "-");
    }
    return row;
}

void write_agreement(json::Writer& json, const Agreement& agreement) {
    json.number("divergence_mean", mean_divergence(agreement));
    json.number("divergence_max", agreement.worst);
    json.number("same_top_share", same_share(agreement));
    json.key("worst");
    json.begin_object();
    json.number("passage", agreement.worst_passage);
    json.number("position", agreement.worst_position);
    json.end_object();
}

void write_scores(json::Writer& json, const Scores& scores, const Scores& base) {
    json.begin_object();
    json.string("name", scores.name);
    if (!scores.error.empty()) json.string("error", scores.error);
    if (!scores.fingerprint.empty()) json.string("fingerprint", scores.fingerprint);
    if (scores.likelihood.positions > 0) {
        json.number("tokens", scores.likelihood.positions);
        json.number("perplexity", scores.likelihood.perplexity());
        json.number("perplexity_ratio",
                    scores.likelihood.perplexity() / base.likelihood.perplexity());
    }
    if (scores.agreement) write_agreement(json, *scores.agreement);
    if (scores.accuracy) {
        json.number("right", scores.accuracy->right);
        json.number("problems", scores.accuracy->all);
        json.number("accuracy", scores.accuracy->share());
        if (base.accuracy && base.accuracy->right > 0)
            json.number("relative_accuracy", scores.accuracy->share() / base.accuracy->share());
    }
    json.end_object();
}

}  // namespace

std::string to_table(const std::string& corpus, const Task& task, const Result& result) {
    const Scores& base = reference(task, result);
    std::string out = corpus + "\n\n", after;
    Rows rows{{"MODEL", "PERPLEXITY", "RATIO", "KL MEAN", "KL MAX", "SAME TOP", "RIGHT", "ACCURACY",
               "RELATIVE"}};
    for (const Scores& scores : result.scores) {
        if (!scores.error.empty()) {
            after += fmt::format("{}: {}\n", scores.name, scores.error);
            continue;
        }
        rows.push_back(cells(scores, base));
        if (scores.agreement && scores.agreement->worst > 0)
            after +=
                fmt::format("{} is farthest away in passage {} at token {}\n", scores.name,
                            scores.agreement->worst_passage + 1, scores.agreement->worst_position);
    }
    out += base::align(rows, 1) + "\n" + after;
    out += fmt::format(
        "RATIO, KL (nats), SAME TOP (likeliest token) and RELATIVE compare with {}.\n", base.name);
    if (task.recorded)
        out += fmt::format("The record keeps {} tokens of each position: KL is at least this.\n",
                           task.recorded->header.top);
    if (result.stopped) out += "Stopped early: the figures are of what was read until then.\n";
    return out;
}

std::string to_json(const std::string& corpus, const Task& task, const Result& result) {
    const Scores& base = reference(task, result);
    std::string out;
    json::Writer json(out);
    json.begin_object();
    json.string("corpus", corpus);
    json.string("reference", base.name);
    json.number("tokens_max", task.tokens_max);
    if (task.recorded) json.number("recorded_top", task.recorded->header.top);
    json.boolean("stopped", result.stopped);
    json.key("models");
    json.begin_array();
    for (const Scores& scores : result.scores) write_scores(json, scores, base);
    json.end_array();
    json.end_object();
    return out + "\n";
}

}  // namespace holdfast::eval
