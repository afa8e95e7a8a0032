#include "app/config/setting.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "app/config/values.h"
#include "common/base/suggest.h"
#include "common/base/trim.h"

namespace holdfast::config {
namespace {

using base::Code;
using base::fail;
using std::chrono::milliseconds;

constexpr std::size_t list_elements_max = 256;

base::Result<> check_choice(const Setting& setting, std::string_view text) {
    if (setting.choices.empty()) return {};
    std::vector<std::string> choices(1);
    for (const char c : setting.choices) {
        if (c == '|') {
            choices.emplace_back();
        } else {
            choices.back() += c;
        }
    }
    if (std::ranges::find(choices, text) != choices.end()) return {};
    return fail(Code::invalid, "must be one of {}, not \"{}\"{}", fmt::join(choices, ", "),
                text.substr(0, 60), base::suggestion(text, choices));
}

// Reads the text of `setting` into a member.
struct Assign {
    const Setting& setting;
    std::string_view text;

    base::Result<> operator()(std::string& member) const {
        if (text.empty()) return fail(Code::invalid, "must not be empty");
        if (text.find('\0') != text.npos || text.find('\n') != text.npos)
            return fail(Code::invalid, "must be one line of text");
        HF_TRY(check_choice(setting, text));
        if (setting.form.check != nullptr) HF_TRY(setting.form.check(text));
        member = text;
        return {};
    }
    base::Result<> operator()(std::uint32_t& member) const { return number(member, parse_integer); }
    base::Result<> operator()(std::uint64_t& member) const { return number(member, parse_bytes); }
    base::Result<> operator()(double& member) const { return number(member, parse_number); }
    base::Result<> operator()(milliseconds& member) const { return number(member, parse_duration); }
    base::Result<> operator()(bool& member) const {
        HF_TRY_ASSIGN(member, parse_switch(text));
        return {};
    }
    base::Result<> operator()(spdlog::level::level_enum& member) const {
        HF_TRY(check_choice(setting, text));
        HF_TRY_ASSIGN(member, telemetry::parse_log_level(text));
        return {};
    }
    base::Result<> operator()(std::vector<Model>& member) const {
        return append(member, parse_model(text));
    }
    base::Result<> operator()(std::vector<fleet::Target>& member) const {
        return append(member, parse_target(text));
    }

private:
    // The limits are written like the value and therefore read by `parse`.
    template <class T, class Parse>
    base::Result<> number(T& member, Parse parse) const {
        HF_TRY_ASSIGN(const auto value, parse(text));
        const bool below = !setting.least.empty() && value < *parse(setting.least);
        const bool above = !setting.most.empty() && value > *parse(setting.most);
        if (below || above)
            return fail(Code::invalid, "must be from {} to {}, not {}", setting.least, setting.most,
                        text);
        member = static_cast<T>(value);
        return {};
    }

    template <class T>
    static base::Result<> append(std::vector<T>& list, base::Result<T> element) {
        if (!element) return std::unexpected(std::move(element).error());
        if (list.size() >= list_elements_max)
            return fail(Code::invalid, "must have at most {} elements", list_elements_max);
        list.push_back(*std::move(element));
        return {};
    }
};

std::string text_of(const std::string& value) { return value; }
std::string text_of(std::uint32_t value) { return fmt::to_string(value); }
std::string text_of(std::uint64_t value) { return format_bytes(value); }
std::string text_of(double value) { return fmt::to_string(value); }
std::string text_of(milliseconds value) { return format_duration(value); }
std::string text_of(bool value) { return value ? "true" : "false"; }
std::string text_of(spdlog::level::level_enum value) {
    return std::string(telemetry::log_level_name(value));
}
std::string text_of(const Model& value) { return format_model(value); }
std::string text_of(const fleet::Target& value) { return format_target(value); }

template <class T>
std::vector<std::string> texts_of(const T& value) {
    return {text_of(value)};
}
template <class T>
std::vector<std::string> texts_of(const std::vector<T>& list) {
    std::vector<std::string> texts;
    for (const T& element : list) texts.push_back(text_of(element));
    return texts;
}

std::string_view name_of(const Setting& setting, const std::string&) { return setting.form.name; }
std::string_view name_of(const Setting&, std::uint32_t) { return "whole number"; }
std::string_view name_of(const Setting&, std::uint64_t) { return "size"; }
std::string_view name_of(const Setting&, double) { return "number"; }
std::string_view name_of(const Setting&, milliseconds) { return "duration"; }
std::string_view name_of(const Setting&, bool) { return "true or false"; }
std::string_view name_of(const Setting&, spdlog::level::level_enum) { return "text"; }
std::string_view name_of(const Setting&, const std::vector<Model>&) { return "list of models"; }
std::string_view name_of(const Setting&, const std::vector<fleet::Target>&) {
    return "list of instances";
}

// Calls `use` with the member. A setting of a constant value can only be looked at.
template <class Use>
auto with_member(const Setting& setting, Settings& settings, Use use) {
    return std::visit([&](auto* at) { return use(at(settings)); }, setting.member);
}
template <class Use>
auto with_member(const Setting& setting, const Settings& settings, Use use) {
    return std::visit(
        [&](auto* at) { return use(std::as_const(at(const_cast<Settings&>(settings)))); },
        setting.member);
}

}  // namespace

std::string environment_name(const Setting& setting) {
    std::string out = "HOLDFAST_";
    for (const char c : setting.name)
        out += c == '.' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    return out;
}

bool is_list(const Setting& setting) {
    return std::holds_alternative<std::vector<Model>& (*)(Settings&)>(setting.member) ||
           std::holds_alternative<std::vector<fleet::Target>& (*)(Settings&)>(setting.member);
}

std::string_view type_name(const Setting& setting) {
    const Settings any;
    return with_member(setting, any, [&](const auto& member) { return name_of(setting, member); });
}

std::string default_text(const Setting& setting) {
    if (setting.automatic) return std::string(automatic_text);
    return is_list(setting) ? std::string() : format(setting, Settings())[0];
}

base::Result<> assign(const Setting& setting, Settings& settings, std::string_view text) {
    text = base::trimmed(text);
    const bool may_be_automatic = !is_list(setting) || is_clear(setting, settings);
    if (setting.automatic && may_be_automatic && text == automatic_text) {
        clear(setting, settings);
        return {};
    }
    return with_member(setting, settings, Assign{setting, text});
}

void clear(const Setting& setting, Settings& settings) {
    with_member(setting, settings, [](auto& member) { member = {}; });
}

bool is_clear(const Setting& setting, const Settings& settings) {
    return with_member(setting, settings, []<class T>(const T& member) {
        if constexpr (requires { member.empty(); }) {
            return member.empty();
        } else {
            return member == T();
        }
    });
}

std::vector<std::string> format(const Setting& setting, const Settings& settings) {
    if (setting.automatic && !is_list(setting) && is_clear(setting, settings))
        return {std::string(automatic_text)};
    return with_member(setting, settings, [](const auto& member) { return texts_of(member); });
}

}  // namespace holdfast::config
