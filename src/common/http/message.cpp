#include "common/http/message.h"

#include <algorithm>

#include "common/http/characters.h"

namespace holdfast::http {

std::optional<std::string_view> Headers::find(std::string_view name) const {
    for (const auto& [field, value] : fields_) {
        if (equal_without_case(field, name)) return value;
    }
    return std::nullopt;
}

std::size_t Headers::count(std::string_view name) const {
    return std::ranges::count_if(
        fields_, [name](const Field& field) { return equal_without_case(field.first, name); });
}

void Headers::add(std::string name, std::string value) {
    fields_.emplace_back(std::move(name), std::move(value));
}

void Headers::set(std::string_view name, std::string value) {
    std::erase_if(fields_,
                  [name](const Field& field) { return equal_without_case(field.first, name); });
    fields_.emplace_back(std::string(name), std::move(value));
}

}  // namespace holdfast::http
