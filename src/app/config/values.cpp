#include "app/config/values.h"

#include <fmt/ranges.h>
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <span>

#include "common/base/suggest.h"
#include "common/http/url.h"
#include "common/upstream/kind.h"

namespace holdfast::config {
namespace {

using base::Code;
using base::fail;

struct Unit {
    std::string_view name;
    std::uint64_t size;
};

constexpr std::array<Unit, 6> duration_units{
    {{"ms", 1}, {"s", 1000}, {"min", 60'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
constexpr std::array<Unit, 9> byte_units{{{"B", 1},
                                          {"KiB", 1ULL << 10},
                                          {"MiB", 1ULL << 20},
                                          {"GiB", 1ULL << 30},
                                          {"TiB", 1ULL << 40},
                                          {"kB", 1'000},
                                          {"MB", 1'000'000},
                                          {"GB", 1'000'000'000},
                                          {"TB", 1'000'000'000'000}}};

// What was written, short enough for a message and without control characters.
std::string shown(std::string_view text) {
    std::string out;
    for (const char c : text.substr(0, 60)) out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
    if (text.size() > 60) out += "...";
    return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// A number and its unit. The result is whole: 1.5s is 1500 ms, 1.5B is refused.
base::Result<std::uint64_t> parse_with_unit(std::string_view text, std::span<const Unit> units,
                                            std::string_view example) {
    const auto end = std::ranges::find_if_not(text, [](char c) { return is_digit(c) || c == '.'; });
    const auto digits = text.substr(0, static_cast<std::size_t>(end - text.begin()));
    auto unit_name = text.substr(digits.size());
    if (digits.empty()) {
        if (text.starts_with('-'))
            return fail(Code::invalid, "must not be negative: {}", shown(text));
        return fail(Code::invalid, "must be a number with a unit, such as {}, not \"{}\"", example,
                    shown(text));
    }
    if (unit_name.starts_with(' ')) unit_name.remove_prefix(1);
    if (unit_name.empty())
        return fail(Code::invalid, "needs a unit: {} could be meant as {}{}, for example",
                    shown(text), shown(text), units[1].name);
    const auto unit = std::ranges::find(units, unit_name, &Unit::name);
    if (unit == units.end()) {
        std::string names;
        for (const Unit& known : units)
            names += fmt::format("{}{}", names.empty() ? "" : ", ", known.name);
        return fail(Code::invalid, "has an unknown unit \"{}\"; units are {}", shown(unit_name),
                    names);
    }
    HF_TRY_ASSIGN(const double number, parse_number(digits));
    const double value = number * static_cast<double>(unit->size);
    if (value > 9e15)
        return fail(Code::invalid, "is too large: {}", shown(text));  // exact in a double
    if (value != std::floor(value))
        return fail(Code::invalid, "must be a whole number of {}, not {}", units[0].name,
                    shown(text));
    return static_cast<std::uint64_t>(value);
}

std::string format_with_unit(std::uint64_t value, std::span<const Unit> units) {
    Unit best = units[0];
    for (const Unit& unit : units)
        if (value % unit.size == 0 && value >= unit.size && unit.size > best.size) best = unit;
    return fmt::format("{}{}", value / best.size, best.name);
}

// Lists are written in one text with ';' between elements, and the options of an element with ','.
base::Result<> refuse_separators(std::string_view text) {
    if (text.find(';') != std::string_view::npos || text.find('\n') != std::string_view::npos)
        return fail(Code::invalid, "must not contain ';' or line breaks: \"{}\"", shown(text));
    return {};
}

}  // namespace

base::Result<std::uint64_t> parse_integer(std::string_view text) {
    if (text.starts_with('-')) return fail(Code::invalid, "must not be negative: {}", shown(text));
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc::result_out_of_range)
        return fail(Code::invalid, "is too large: {}", shown(text));
    if (error != std::errc() || end != text.data() + text.size())
        return fail(Code::invalid, "must be a whole number, not \"{}\"", shown(text));
    return value;
}

base::Result<double> parse_number(std::string_view text) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
        return fail(Code::invalid, "must be a number, not \"{}\"", shown(text));
    if (std::signbit(value)) return fail(Code::invalid, "must not be negative: {}", shown(text));
    return value;
}

base::Result<bool> parse_switch(std::string_view text) {
    for (const std::string_view yes : {"true", "on", "yes"})
        if (text == yes) return true;
    for (const std::string_view no : {"false", "off", "no"})
        if (text == no) return false;
    return fail(Code::invalid, "must be true or false, not \"{}\"", shown(text));
}

base::Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
    HF_TRY_ASSIGN(const auto value, parse_with_unit(text, duration_units, "2s or 250ms"));
    return std::chrono::milliseconds(value);
}

base::Result<std::uint64_t> parse_bytes(std::string_view text) {
    return parse_with_unit(text, byte_units, "16MiB");
}

base::Result<std::string> parse_address(std::string_view text) {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos || colon == 0)
        return fail(Code::invalid, "must be HOST:PORT, such as 127.0.0.1:8080, not \"{}\"",
                    shown(text));
    const auto host = text.substr(0, colon);
    const bool bracketed = host.starts_with('[') && host.ends_with(']');
    if (!bracketed && host.find_first_of(":[]") != std::string_view::npos)
        return fail(Code::invalid,
                    "needs an IPv6 address in brackets, such as [::1]:8080, not \"{}\"",
                    shown(text));
    if (host.find_first_of(" /@\t") != std::string_view::npos)
        return fail(Code::invalid, "must be HOST:PORT without anything around it, not \"{}\"",
                    shown(text));
    const auto port = parse_integer(text.substr(colon + 1));
    if (!port || *port > 65'535)
        return fail(Code::invalid, "must end with a port from 0 to 65535: \"{}\"", shown(text));
    return std::string(text);
}

std::string default_model_name(std::string_view path) {
    constexpr std::string_view ending = ".gguf", part = "-00001-of-";
    std::string_view name = path.substr(path.rfind('/') + 1);
    if (!name.ends_with(ending)) return std::string(name);
    name.remove_suffix(ending.size());
    const auto at = name.rfind(part);
    const bool is_part = at != name.npos && name.size() == at + part.size() + 5;
    return std::string(name.substr(0, is_part ? at : name.npos));
}

base::Result<Model> parse_model(std::string_view text) {
    HF_TRY(refuse_separators(text));
    const auto equals = text.rfind('=');
    Model model{.path = std::string(text.substr(0, equals)), .name = {}};
    while (model.path.size() > 1 && model.path.ends_with('/')) model.path.pop_back();
    if (equals != std::string_view::npos) model.name = text.substr(equals + 1);
    if (model.path.empty() || text.ends_with('='))
        return fail(Code::invalid, "must be PATH or PATH=NAME, not \"{}\"", shown(text));
    return model;
}

namespace {

base::Result<> set_option(fleet::Target& target, std::string_view key, std::string_view value) {
    constexpr double weight_max = 1'000;
    if (key == "kind") {
        HF_TRY_ASSIGN(target.kind, upstream::find_kind(value));
    } else if (key == "model") {
        target.model = value;
    } else if (key == "name") {
        if (value.find_first_of(" =\t") != value.npos)
            return fail(Code::invalid, "name must have no spaces: \"{}\"", shown(value));
        target.id = value;
    } else {
        HF_TRY_ASSIGN(target.weight, parse_number(value));
        if (!(target.weight > 0) || target.weight > weight_max)
            return fail(Code::invalid, "weight must be above 0 and at most {}, not {}", weight_max,
                        shown(value));
    }
    return {};
}

}  // namespace

base::Result<fleet::Target> parse_target(std::string_view text) {
    HF_TRY(refuse_separators(text));
    auto rest = text;
    const auto take = [&rest] {
        const auto comma = rest.find(',');
        const auto part = rest.substr(0, comma);
        rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
        return part;
    };
    fleet::Target out;
    out.kind = &upstream::openai_kind;
    auto url = http::Url::parse_service(take());
    if (!url) return fail(Code::invalid, "must begin with a URL: {}", url.error().what);
    out.url = *std::move(url);
    static const std::array<std::string, 4> keys{"kind", "model", "name", "weight"};
    while (!rest.empty()) {
        const auto part = take();
        const auto equals = part.find('=');
        const auto key = part.substr(0, equals);
        if (std::ranges::find(keys, key) == keys.end())
            return fail(Code::invalid, "has an unknown option \"{}\"{}; options are {}", shown(key),
                        base::suggestion(key, keys), fmt::join(keys, ", "));
        if (equals == std::string_view::npos || equals + 1 == part.size())
            return fail(Code::invalid, "option {} needs a value: {}=...", key, key);
        HF_TRY(set_option(out, key, part.substr(equals + 1)));
    }
    return out;
}

std::string format_duration(std::chrono::milliseconds value) {
    return format_with_unit(static_cast<std::uint64_t>(value.count()), duration_units);
}

std::string format_bytes(std::uint64_t value) {
    return format_with_unit(value, std::span(byte_units).first(5));
}

std::string format_model(const Model& value) {
    return value.name.empty() ? value.path : fmt::format("{}={}", value.path, value.name);
}

std::string format_target(const fleet::Target& value) {
    auto text = fmt::format("{},kind={}", value.url.text(), value.kind->name);
    if (!value.model.empty()) text += ",model=" + value.model;
    if (!value.id.empty()) text += ",name=" + value.id;
    if (value.weight != 1) text += fmt::format(",weight={}", value.weight);
    return text;
}

}  // namespace holdfast::config
