#include "app/config/written.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "app/config/table.h"
#include "common/base/suggest.h"
#include "common/base/trim.h"

namespace holdfast::config {
namespace {

constexpr std::string_view prefix = "HOLDFAST_";

// Kubernetes puts variables such as HOLDFAST_SERVICE_HOST and HOLDFAST_PORT_80_TCP_ADDR into every
// pod beside a service called holdfast or holdfast-something. They are not ours to judge.
bool is_kubernetes_link(std::string_view name, std::string_view value) {
    const bool is_port_url = value.starts_with("tcp://") || value.starts_with("udp://");
    return name.ends_with("_SERVICE_HOST") || name.find("_SERVICE_PORT") != name.npos ||
           (name.ends_with("_PORT") && is_port_url) ||
           ((name.find("_TCP") != name.npos || name.find("_UDP") != name.npos) &&
            name.find("_PORT_") != name.npos);
}

std::vector<Element> split_list(std::string_view text, const std::string& where) {
    std::vector<Element> elements;
    while (!text.empty()) {
        const auto end = text.find(';');
        elements.push_back({std::string(text.substr(0, end)), where});
        text = end == text.npos ? std::string_view() : text.substr(end + 1);
    }
    return elements;
}

}  // namespace

void Problems::add(std::string line) {
    constexpr std::size_t lines_max = 20;
    if (lines_.size() < lines_max) {
        lines_.push_back(std::move(line));
    } else {
        ++more_;
    }
}

std::string Problems::text() const {
    std::string out;
    for (const std::string& line : lines_) out += (out.empty() ? "" : "\n") + line;
    if (more_ > 0) out += fmt::format("\n... and {} more", more_);
    return out;
}

std::vector<Written> read_environment(const Environment& environment, Problems& problems) {
    std::vector<std::string> known{config_variable, url_variable, api_key_variable, cache_variable,
                                   roster_variable};
    for (const Setting& setting : table()) known.push_back(environment_name(setting));
    std::vector<Written> out;
    for (const auto& [name, value] : environment) {
        if (!name.starts_with(prefix) || is_kubernetes_link(name, value)) continue;
        const auto setting = std::ranges::find(table(), name, environment_name);
        if (setting != table().end()) {
            if (base::trimmed(value).empty())
                continue;  // how scripts and compose files say "not set"
            Written written{.setting = &*setting, .elements = {{value, name}}, .where = name};
            if (is_list(*setting)) written.elements = split_list(value, name);
            out.push_back(std::move(written));
        } else if (std::ranges::find(known, name) == known.end()) {
            std::vector<std::string> tails;  // what all share would make everything near
            tails.reserve(known.size());
            for (const std::string& one : known) tails.push_back(one.substr(prefix.size()));
            const auto meant = base::nearest(std::string_view(name).substr(prefix.size()), tails);
            problems.add(
                fmt::format("unknown variable {}{}", name.substr(0, 100),
                            meant ? fmt::format("; did you mean \"{}{}\"?", prefix, *meant) : ""));
        }
    }
    return out;
}

std::vector<Written> read_flags(const std::vector<Flag>& flags, Problems& problems) {
    std::vector<Written> out;
    for (const Flag& flag : flags) {
        const Setting* setting = find(flag.name);
        if (!setting) {
            problems.add(fmt::format("{}: unknown setting \"{}\"{}", flag.where,
                                     flag.name.substr(0, 100),
                                     base::suggestion(flag.name, names())));
            continue;
        }
        const auto earlier = std::ranges::find(out, setting, &Written::setting);
        Written written{
            .setting = setting, .elements = {{flag.text, flag.where}}, .where = flag.where};
        if (is_list(*setting)) written.elements = split_list(flag.text, flag.where);
        if (earlier == out.end()) {
            out.push_back(std::move(written));
        } else if (is_list(*setting)) {
            std::ranges::move(written.elements, std::back_inserter(earlier->elements));
        } else {
            *earlier = std::move(written);
        }
    }
    return out;
}

}  // namespace holdfast::config
