#pragma once

#include <cstdint>
#include <string_view>

namespace holdfast::tensor {

// Element types that can be computed with. `other` stands for types that a weight file may hold
// (integers, 8-bit floats, ...) but that nothing here reads.
enum class DataType : std::uint8_t { bf16, f16, f32, other };

constexpr std::uint32_t size_bytes(DataType type) { return type == DataType::f32 ? 4 : 2; }

constexpr std::string_view name(DataType type) {
    switch (type) {
        case DataType::bf16:
            return "bf16";
        case DataType::f16:
            return "f16";
        case DataType::f32:
            return "f32";
        case DataType::other:
            break;
    }
    return "other";
}

}  // namespace holdfast::tensor
