#include "common/upstream/readiness.h"

#include <simdjson.h>

#include <algorithm>
#include <limits>

#include "common/json/writer.h"
#include "common/upstream/limits.h"
#include "common/upstream/text.h"

namespace holdfast::upstream {

namespace {

using simdjson::dom::element;
using simdjson::dom::object;

std::unexpected<base::Error> corrupt(std::string_view what) {
    return std::unexpected(base::Error{base::Code::corrupt, std::string(what),
                                       base::Origin::instance, base::Retry::elsewhere});
}

std::string text_of(const object& from, std::string_view name) {
    std::string_view text;
    if (from[name].get(text) != simdjson::SUCCESS) return {};
    return one_line(text, name_bytes_max);
}

// Absent, or none: 0. Larger numbers: `max`.
std::uint32_t count_of(const object& from, std::string_view name,
                       std::int64_t max = std::numeric_limits<std::uint32_t>::max()) {
    std::uint64_t number = 0;
    if (from[name].get(number) != simdjson::SUCCESS) return 0;
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(number, max));
}

bool flag_of(const object& from, std::string_view name) {
    bool flag = false;
    return from[name].get(flag) == simdjson::SUCCESS && flag;
}

std::vector<std::string> reasons_of(const object& from) {
    std::vector<std::string> reasons;
    simdjson::dom::array list;
    if (from["reasons"].get(list) != simdjson::SUCCESS) return reasons;
    for (const element& entry : list) {
        std::string_view text;
        if (reasons.size() == reasons_max) break;
        if (entry.get(text) == simdjson::SUCCESS)
            reasons.push_back(one_line(text, reason_bytes_max));
    }
    return reasons;
}

std::uint32_t context_of(const object& model) {
    if (const std::uint32_t context = count_of(model, "max_model_len", context_max); context > 0)
        return context;
    object meta;
    if (model["meta"].get(meta) != simdjson::SUCCESS) return 0;
    const std::uint32_t context = count_of(meta, "n_ctx", context_max);
    return context > 0 ? context : count_of(meta, "n_ctx_train", context_max);
}

}  // namespace

std::string render_readiness(const Readiness& readiness) {
    std::string out;
    json::Writer json(out);
    json.begin_object();
    json.boolean("ready", readiness.ready);
    json.key("reasons");
    json.begin_array();
    for (const std::string& reason : readiness.reasons) json.string(reason);
    json.end_array();
    json.string("model", readiness.model);
    json.string("fingerprint", readiness.fingerprint);
    json.number("context", readiness.context);
    json.number("load_progress", readiness.load_progress);
    json.number("pid", readiness.pid);
    json.string("instance_life", readiness.instance_life);
    json.number("running", readiness.running);
    json.number("waiting", readiness.waiting);
    if (readiness.progress) json.number("progress", *readiness.progress);
    json.boolean("draining", readiness.draining);
    json.end_object();
    return out;
}

base::Result<Readiness> parse_readiness(std::string_view body) {
    simdjson::dom::parser parser;
    object root;
    if (parser.parse(body.data(), body.size()).get(root) != simdjson::SUCCESS)
        return corrupt("/readyz gave no JSON object");
    Readiness read;
    if (root["ready"].get(read.ready) != simdjson::SUCCESS)
        return corrupt("/readyz does not tell whether it is ready");
    read.draining = flag_of(root, "draining");
    read.reasons = reasons_of(root);
    read.model = text_of(root, "model");
    read.fingerprint = text_of(root, "fingerprint");
    read.context = count_of(root, "context", context_max);
    double progress = 1;
    if (root["load_progress"].get(progress) == simdjson::SUCCESS)
        read.load_progress = std::clamp(progress, 0.0, 1.0);
    read.pid = static_cast<int>(count_of(root, "pid", pid_max));
    read.instance_life = text_of(root, "instance_life");
    read.running = count_of(root, "running");
    read.waiting = count_of(root, "waiting");
    std::uint64_t steps = 0;
    if (root["progress"].get(steps) == simdjson::SUCCESS) read.progress = steps;
    return read;
}

base::Result<std::vector<ListedModel>> parse_models(std::string_view body) {
    simdjson::dom::parser parser;
    object root;
    simdjson::dom::array data;
    if (parser.parse(body.data(), body.size()).get(root) != simdjson::SUCCESS ||
        root["data"].get(data) != simdjson::SUCCESS) {
        return corrupt("/v1/models gave no list of models");
    }
    std::vector<ListedModel> models;
    for (const element& entry : data) {
        object model;
        if (models.size() == models_max) break;
        if (entry.get(model) != simdjson::SUCCESS) continue;
        ListedModel listed{text_of(model, "id"), context_of(model)};
        if (!listed.id.empty()) models.push_back(std::move(listed));
    }
    return models;
}

}  // namespace holdfast::upstream
