#include "app/config/print.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/config/table.h"

namespace holdfast::config {
namespace {

// A YAML scalar: plain where that is safe, else double-quoted.
std::string scalar(const std::string& text) {
    const auto is_safe = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '/' || c == '.' || c == '_' || c == '-' || c == '=';
    };
    const bool plain = !text.empty() && text[0] != '-' && std::ranges::all_of(text, is_safe);
    if (plain) return text;
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        if (static_cast<unsigned char>(c) < 0x20) {
            out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        } else {
            out += c;
        }
    }
    return out + "\"";
}

}  // namespace

std::string print_yaml(const Loaded& loaded) {
    std::string out;
    std::string_view open_section;
    for (std::size_t row = 0; row < table().size(); ++row) {
        const Setting& setting = table()[row];
        const auto dot = setting.name.find('.');
        const auto section =
            dot == std::string_view::npos ? std::string_view() : setting.name.substr(0, dot);
        const auto key =
            dot == std::string_view::npos ? setting.name : setting.name.substr(dot + 1);
        if (section != open_section) {
            out += fmt::format("{}:\n", section);
            open_section = section;
        }
        const std::string_view indent = section.empty() ? "" : "  ";
        const auto texts = format(setting, loaded.settings);
        if (!is_list(setting)) {
            out +=
                fmt::format("{}{}: {}  # {}\n", indent, key, scalar(texts[0]), loaded.sources[row]);
            continue;
        }
        out += fmt::format("{}{}:{}  # {}\n", indent, key, texts.empty() ? " []" : "",
                           loaded.sources[row]);
        for (const std::string& text : texts)
            out += fmt::format("{}  - {}\n", indent, scalar(text));
    }
    return out;
}

std::string print_reference() {
    std::string out =
        "| setting | type | default | limits | variable, flag | meaning |\n"
        "|---|---|---|---|---|---|\n";
    for (const Setting& setting : table()) {
        std::string limits;
        if (!setting.least.empty()) limits = fmt::format("{} to {}", setting.least, setting.most);
        if (setting.form.known != nullptr) limits = setting.form.known();
        for (const char c : setting.choices)
            limits += c == '|' ? std::string(", ") : std::string(1, c);
        const auto fallback = default_text(setting);
        out += fmt::format(
            "| `{}` | {} | {} | {} | `{}`{} | {} |\n", setting.name, type_name(setting),
            fallback.empty() ? "" : fmt::format("`{}`", fallback), limits,
            environment_name(setting),
            setting.flag.empty() ? "" : fmt::format(", `{}`", setting.flag), setting.help);
    }
    return out;
}

}  // namespace holdfast::config
