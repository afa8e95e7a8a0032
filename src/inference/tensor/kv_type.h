#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace holdfast::tensor {

// How keys and values are kept: float32; bf16, rounded to nearest even; or signed 8-bit numbers
// with one float32 scale for each token and key head (largest magnitude / 127). What a token's key
// and value become depends on them alone, so that the numerics contract holds for each type.
enum class KvType : std::uint8_t { f32, bf16, q8 };
inline constexpr KvType all_kv_types[] = {KvType::f32, KvType::bf16, KvType::q8};

constexpr std::string_view name(KvType type) {
    constexpr std::string_view names[] = {"f32", "bf16", "q8"};
    return names[static_cast<std::size_t>(type)];
}

// By the name that name() gives.
constexpr std::optional<KvType> find_kv_type(std::string_view wanted) {
    for (const KvType type : all_kv_types)
        if (name(type) == wanted) return type;
    return std::nullopt;
}

}  // namespace holdfast::tensor
