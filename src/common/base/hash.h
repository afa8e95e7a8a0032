#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace holdfast::base {

// 128-bit XXH3, for keys inside one process or model identity; not against an adversary.
struct Hash128 {
    std::uint64_t low = 0, high = 0;
    friend bool operator==(const Hash128&, const Hash128&) = default;
};
Hash128 hash128(std::span<const std::byte> data, Hash128 parent = {});
std::uint64_t hash64(std::string_view text, std::uint64_t seed = 0);

}  // namespace holdfast::base

template <>
struct std::hash<holdfast::base::Hash128> {
    std::size_t operator()(const holdfast::base::Hash128& value) const noexcept {
        return value.low;
    }
};
