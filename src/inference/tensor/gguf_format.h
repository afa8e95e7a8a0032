// The numbers of the GGUF format, for its reader and its writer.
// https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "inference/tensor/data_type.h"

namespace holdfast::tensor::gguf {

static_assert(std::endian::native == std::endian::little,
              "numbers are copied between memory and little-endian files as they are");

inline constexpr std::uint32_t magic = 0x4655'4747;  // "GGUF"
inline constexpr std::uint32_t version_written = 3;
inline constexpr std::uint32_t default_alignment = 32;
inline constexpr std::size_t tensor_name_bytes_max = 64;
inline constexpr std::size_t key_bytes_max = 65'535;
inline constexpr std::size_t dimensions_max = 4;

enum class ValueType : std::uint32_t {
    uint8,
    int8,
    uint16,
    int16,
    uint32,
    int32,
    float32,
    boolean,
    string,
    array,
    uint64,
    int64,
    float64,
};

struct ValueTypeTraits {
    std::string_view name;
    std::size_t bytes;  // of one element; 0 if that depends on the element
};
inline constexpr ValueTypeTraits value_types[] = {
    {"uint8", 1},  {"int8", 1},    {"uint16", 2}, {"int16", 2}, {"uint32", 4},
    {"int32", 4},  {"float32", 4}, {"bool", 1},   {"text", 0},  {"array", 0},
    {"uint64", 8}, {"int64", 8},   {"float64", 8}};

// A tensor type: of those that are not computed with, the sizes are known all the same, so that a
// file that holds one can be checked.
struct TensorType {
    std::uint32_t number;
    std::string_view name;
    DataType type;
    std::uint32_t block_elements, block_bytes;
};
inline constexpr TensorType tensor_types[] = {
    {0, "F32", DataType::f32, 1, 4},           {1, "F16", DataType::f16, 1, 2},
    {2, "Q4_0", DataType::q4_0, 32, 18},       {3, "Q4_1", DataType::other, 32, 20},
    {6, "Q5_0", DataType::other, 32, 22},      {7, "Q5_1", DataType::other, 32, 24},
    {8, "Q8_0", DataType::q8_0, 32, 34},       {9, "Q8_1", DataType::other, 32, 40},
    {10, "Q2_K", DataType::other, 256, 84},    {11, "Q3_K", DataType::other, 256, 110},
    {12, "Q4_K", DataType::q4_k, 256, 144},    {13, "Q5_K", DataType::q5_k, 256, 176},
    {14, "Q6_K", DataType::q6_k, 256, 210},    {15, "Q8_K", DataType::other, 256, 292},
    {16, "IQ2_XXS", DataType::other, 256, 66}, {17, "IQ2_XS", DataType::other, 256, 74},
    {18, "IQ3_XXS", DataType::other, 256, 98}, {19, "IQ1_S", DataType::other, 256, 50},
    {20, "IQ4_NL", DataType::other, 32, 18},   {21, "IQ3_S", DataType::other, 256, 110},
    {22, "IQ2_S", DataType::other, 256, 82},   {23, "IQ4_XS", DataType::other, 256, 136},
    {24, "I8", DataType::other, 1, 1},         {25, "I16", DataType::other, 1, 2},
    {26, "I32", DataType::other, 1, 4},        {27, "I64", DataType::other, 1, 8},
    {28, "F64", DataType::other, 1, 8},        {29, "IQ1_M", DataType::other, 256, 56},
    {30, "BF16", DataType::bf16, 1, 2},        {34, "TQ1_0", DataType::other, 256, 54},
    {35, "TQ2_0", DataType::other, 256, 66},   {39, "MXFP4", DataType::other, 32, 17},
    {40, "NVFP4", DataType::other, 64, 36},
};

}  // namespace holdfast::tensor::gguf
