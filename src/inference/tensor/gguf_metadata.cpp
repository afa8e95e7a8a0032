// What Gguf's metadata says, read as the type that the caller expects.
#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "inference/tensor/gguf.h"
#include "inference/tensor/gguf_format.h"

namespace holdfast::tensor {
namespace {

using base::Code;
using base::Result;
using gguf::ValueType;

template <class T>
T load(const std::byte* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

// Calls `use` with the number at `at`; false if `type` is none of the integers.
bool with_integer(ValueType type, const std::byte* at, const auto& use) {
    switch (type) {
        case ValueType::uint8:
            return use(load<std::uint8_t>(at)), true;
        case ValueType::int8:
            return use(load<std::int8_t>(at)), true;
        case ValueType::uint16:
            return use(load<std::uint16_t>(at)), true;
        case ValueType::int16:
            return use(load<std::int16_t>(at)), true;
        case ValueType::uint32:
            return use(load<std::uint32_t>(at)), true;
        case ValueType::int32:
            return use(load<std::int32_t>(at)), true;
        case ValueType::uint64:
            return use(load<std::uint64_t>(at)), true;
        case ValueType::int64:
            return use(load<std::int64_t>(at)), true;
        default:
            return false;
    }
}

// nullopt if the value is of another type or does not fit.
template <class Integer>
std::optional<Integer> to_integer(ValueType type, const std::byte* at) {
    std::optional<Integer> found;
    with_integer(type, at, [&](auto value) {
        if (std::in_range<Integer>(value)) found = static_cast<Integer>(value);
    });
    return found;
}

std::optional<double> to_number(ValueType type, const std::byte* at) {
    std::optional<double> found;
    if (type == ValueType::float32) found = load<float>(at);
    if (type == ValueType::float64) found = load<double>(at);
    with_integer(type, at, [&](auto value) { found = static_cast<double>(value); });
    return found;
}

// The text at the beginning of `bytes`, whose length has been checked.
std::string_view to_text(std::span<const std::byte> bytes) {
    const auto length = load<std::uint64_t>(bytes.data());
    return {reinterpret_cast<const char*>(bytes.data()) + sizeof length, length};
}

std::unexpected<base::Error> wrong(const std::string& file, const GgufEntry& entry,
                                   std::string_view expected) {
    const bool is_array = static_cast<ValueType>(entry.type) == ValueType::array;
    return base::fail(Code::invalid, "{}: key \"{}\" is {}{}, not {}", file, entry.key,
                      is_array ? "an array of " : "",
                      gguf::value_types[is_array ? entry.element_type : entry.type].name, expected);
}

// One element after the other, each `convert`ed.
template <class T>
Result<std::optional<std::vector<T>>> all_of(const std::string& file, const GgufEntry* entry,
                                             std::string_view expected, const auto& convert) {
    if (entry == nullptr) return std::nullopt;
    if (static_cast<ValueType>(entry->type) != ValueType::array)
        return wrong(file, *entry, expected);
    const auto type = static_cast<ValueType>(entry->element_type);
    const std::size_t element_bytes = gguf::value_types[entry->element_type].bytes;
    std::vector<T> found;
    found.reserve(entry->count);
    for (std::uint64_t i = 0; i < entry->count; ++i) {
        const std::optional<T> value = element_bytes == 0
                                           ? std::nullopt
                                           : convert(type, entry->value.data() + i * element_bytes);
        if (!value) return wrong(file, *entry, expected);
        found.push_back(*value);
    }
    return found;
}

}  // namespace

const GgufEntry* Gguf::find(std::string_view key) const {
    const auto found = std::ranges::lower_bound(entries_, key, {}, &GgufEntry::key);
    return found == entries_.end() || found->key != key ? nullptr : &*found;
}

Result<std::optional<std::uint64_t>> Gguf::integer(std::string_view key) const {
    const GgufEntry* const entry = find(key);
    if (entry == nullptr) return std::nullopt;
    const auto value =
        to_integer<std::uint64_t>(static_cast<ValueType>(entry->type), entry->value.data());
    if (!value) return wrong(file_, *entry, "a non-negative integer");
    return value;
}

Result<std::optional<double>> Gguf::number(std::string_view key) const {
    const GgufEntry* const entry = find(key);
    if (entry == nullptr) return std::nullopt;
    const auto value = to_number(static_cast<ValueType>(entry->type), entry->value.data());
    if (!value) return wrong(file_, *entry, "a number");
    return value;
}

Result<std::optional<bool>> Gguf::flag(std::string_view key) const {
    const GgufEntry* const entry = find(key);
    if (entry == nullptr) return std::nullopt;
    if (static_cast<ValueType>(entry->type) != ValueType::boolean)
        return wrong(file_, *entry, "a bool");
    return entry->value.front() != std::byte{0};
}

Result<std::optional<std::string_view>> Gguf::text(std::string_view key) const {
    const GgufEntry* const entry = find(key);
    if (entry == nullptr) return std::nullopt;
    if (static_cast<ValueType>(entry->type) != ValueType::string)
        return wrong(file_, *entry, "a text");
    return to_text(entry->value);
}

Result<std::optional<std::vector<std::string_view>>> Gguf::texts(std::string_view key) const {
    const GgufEntry* const entry = find(key);
    if (entry == nullptr) return std::nullopt;
    if (static_cast<ValueType>(entry->type) != ValueType::array ||
        static_cast<ValueType>(entry->element_type) != ValueType::string)
        return wrong(file_, *entry, "an array of texts");
    std::vector<std::string_view> found;
    found.reserve(entry->count);
    auto rest = entry->value;
    for (std::uint64_t i = 0; i < entry->count; ++i) {
        found.push_back(to_text(rest));
        rest = rest.subspan(sizeof(std::uint64_t) + found.back().size());
    }
    return found;
}

Result<std::optional<std::vector<std::int64_t>>> Gguf::integers(std::string_view key) const {
    return all_of<std::int64_t>(file_, find(key), "an array of integers", to_integer<std::int64_t>);
}

Result<std::optional<std::vector<double>>> Gguf::numbers(std::string_view key) const {
    return all_of<double>(file_, find(key), "an array of numbers", to_number);
}

}  // namespace holdfast::tensor
