#include <fmt/format.h>
#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <limits>

#include "service/fleet/probe.h"

namespace holdfast::fleet {

namespace {

using simdjson::dom::element;
using simdjson::dom::object;

// What an instance may fill our memory and log lines with.
constexpr std::size_t text_bytes_max = 512;
constexpr std::size_t models_max = 256;

std::unexpected<base::Error> corrupt(std::string_view what) {
    return std::unexpected(base::Error{base::Code::corrupt, std::string(what),
                                       base::Origin::instance, base::Retry::elsewhere});
}

std::string text_of(const object& from, std::string_view name) {
    std::string_view text;
    if (from[name].get(text) != simdjson::SUCCESS) return {};
    return std::string(text.substr(0, text_bytes_max));
}

// Absent: 0. Numbers beyond 32 bits: the largest.
std::uint32_t count_of(const object& from, std::string_view name) {
    std::uint64_t number = 0;
    if (from[name].get(number) != simdjson::SUCCESS) return 0;
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(number, std::numeric_limits<std::uint32_t>::max()));
}

bool flag_of(const object& from, std::string_view name) {
    bool flag = false;
    return from[name].get(flag) == simdjson::SUCCESS && flag;
}

std::string reasons_of(const object& from) {
    std::string reasons;
    simdjson::dom::array list;
    if (from["reasons"].get(list) == simdjson::SUCCESS) {
        for (const element& entry : list) {
            std::string_view text;
            if (entry.get(text) != simdjson::SUCCESS) continue;
            if (!reasons.empty()) reasons += ", ";
            reasons += text;
        }
    }
    double progress = 1;
    if (from["load_progress"].get(progress) == simdjson::SUCCESS && progress < 1) {
        reasons += fmt::format("{}{:.0f} % loaded", reasons.empty() ? "" : ", ", progress * 100);
    }
    if (reasons.size() > text_bytes_max) reasons.resize(text_bytes_max);
    return reasons;
}

std::uint32_t context_of(const object& model) {
    if (const std::uint32_t context = count_of(model, "max_model_len"); context > 0) return context;
    object meta;
    if (model["meta"].get(meta) != simdjson::SUCCESS) return 0;
    const std::uint32_t context = count_of(meta, "n_ctx");
    return context > 0 ? context : count_of(meta, "n_ctx_train");
}

}  // namespace

base::Result<Probed> parse_readyz(std::string_view body) {
    simdjson::dom::parser parser;
    object root;
    if (parser.parse(body.data(), body.size()).get(root) != simdjson::SUCCESS) {
        return corrupt("/readyz gave no JSON object");
    }
    Probed probed;
    if (root["ready"].get(probed.answer.ready) != simdjson::SUCCESS) {
        return corrupt("/readyz does not tell whether it is ready");
    }
    probed.answer.draining = flag_of(root, "draining");
    probed.answer.reasons = reasons_of(root);
    probed.answer.work = std::uint64_t{count_of(root, "running")} + count_of(root, "waiting");
    std::uint64_t progress = 0;
    if (root["progress"].get(progress) == simdjson::SUCCESS) probed.answer.progress = progress;
    probed.instance_life = text_of(root, "instance_life");
    probed.fingerprint = text_of(root, "fingerprint");
    probed.pid = static_cast<int>(
        std::min<std::uint32_t>(count_of(root, "pid"), std::numeric_limits<int>::max()));
    if (std::string model = text_of(root, "model"); !model.empty()) {
        probed.models = {ListedModel{std::move(model), count_of(root, "context")}};
    }
    return probed;
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
        if (entry.get(model) != simdjson::SUCCESS || models.size() == models_max) continue;
        ListedModel listed{text_of(model, "id"), context_of(model)};
        if (!listed.id.empty()) models.push_back(std::move(listed));
    }
    return models;
}

}  // namespace holdfast::fleet
