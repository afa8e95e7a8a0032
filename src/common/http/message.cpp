#include "common/http/message.h"

#include <algorithm>

#include "common/http/characters.h"

namespace holdfast::http {

namespace {
constexpr std::size_t usual_bytes = 256;
}

Headers::Field Headers::field(std::size_t index) const {
    const std::string_view bytes = bytes_;
    const std::size_t begin = index == 0 ? 0 : ends_[index - 1].value;
    const Ends ends = ends_[index];
    return {bytes.substr(begin, ends.name - begin),
            bytes.substr(ends.name, ends.value - ends.name)};
}

std::optional<std::string_view> Headers::find(std::string_view name) const {
    for (const auto& [field, value] : *this) {
        if (equal_without_case(field, name)) return value;
    }
    return std::nullopt;
}

std::size_t Headers::count(std::string_view name) const {
    return std::ranges::count_if(
        *this, [name](const Field& field) { return equal_without_case(field.first, name); });
}

void Headers::add(std::string_view name, std::string_view value) {
    if (bytes_.empty()) bytes_.reserve(usual_bytes);
    bytes_.append(name);
    const auto name_end = static_cast<std::uint32_t>(bytes_.size());
    bytes_.append(value);
    ends_.push_back({name_end, static_cast<std::uint32_t>(bytes_.size())});
}

void Headers::set(std::string_view name, std::string_view value) {
    Headers others;
    for (const auto& [field, kept] : *this)
        if (!equal_without_case(field, name)) others.add(field, kept);
    others.add(name, value);
    *this = std::move(others);
}

}  // namespace holdfast::http
