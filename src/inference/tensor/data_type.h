#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace holdfast::tensor {

// Element types that can be computed with. The quantized ones are those of GGUF, where a row is
// cut into blocks that share their scales:
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
// `other` stands for types that a weight file may hold and that nothing here reads.
enum class DataType : std::uint8_t { bf16, f16, f32, q8_0, q4_0, q4_k, q5_k, q6_k, other };

struct DataTypeTraits {
    std::string_view name;
    std::uint32_t block_elements;  // neighbours in a row that are stored together
    std::uint32_t block_bytes;
};

constexpr DataTypeTraits traits(DataType type) {
    switch (type) {
        case DataType::bf16:
            return {"bf16", 1, 2};
        case DataType::f16:
            return {"f16", 1, 2};
        case DataType::f32:
            return {"f32", 1, 4};
        case DataType::q8_0:
            return {"q8_0", 32, 34};
        case DataType::q4_0:
            return {"q4_0", 32, 18};
        case DataType::q4_k:
            return {"q4_k", 256, 144};
        case DataType::q5_k:
            return {"q5_k", 256, 176};
        case DataType::q6_k:
            return {"q6_k", 256, 210};
        case DataType::other:
            break;
    }
    return {"other", 1, 0};
}

constexpr std::string_view name(DataType type) { return traits(type).name; }

constexpr bool is_quantized(DataType type) { return traits(type).block_elements > 1; }

// Bytes of `elements` neighbours of a row, a whole number of blocks.
constexpr std::size_t bytes_of(DataType type, std::size_t elements) {
    return elements / traits(type).block_elements * traits(type).block_bytes;
}

// `wanted`, where rows of so many elements are whole blocks of it, else q8_0, else f16.
constexpr DataType fitting_type(DataType wanted, std::size_t row_elements) {
    for (const DataType type : {wanted, DataType::q8_0})
        if (row_elements % traits(type).block_elements == 0) return type;
    return DataType::f16;
}

// By the name that traits() gives, in lower case.
constexpr std::optional<DataType> find_data_type(std::string_view wanted) {
    for (int i = 0; i < static_cast<int>(DataType::other); ++i)
        if (name(static_cast<DataType>(i)) == wanted) return static_cast<DataType>(i);
    return std::nullopt;
}

}  // namespace holdfast::tensor
