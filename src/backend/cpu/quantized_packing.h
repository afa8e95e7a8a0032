// Quantized weights on their way from the blocks of a file into panels (quantized_layout.h), and
// back into numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/data_type.h"

namespace holdfast::cpu {

// Puts a row of a file, `inputs` weights of a quantized type, in place of output `lane` of a panel.
// The panel was zeroed before.
void pack_quantized(tensor::DataType type, const std::byte* row, std::uint32_t inputs,
                    std::uint32_t lane, std::byte* panel);

// The weights of output `lane` of a panel, with the bits that tensor::dequantize gives.
void unpack_quantized(tensor::DataType type, const std::byte* panel, std::uint32_t lane,
                      std::span<float> weights);

// The index of the first of `count` weights whose block has an infinite or undefined scale, or
// `count`.
std::size_t find_scale_not_finite(tensor::DataType type, const std::byte* from, std::size_t count);

}  // namespace holdfast::cpu
