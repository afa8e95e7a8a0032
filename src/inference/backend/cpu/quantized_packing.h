// Quantized weights on their way from the blocks of a file into panels (quantized_layout.h), and
// back into numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "inference/tensor/data_type.h"

namespace holdfast::cpu {

// Puts a row of a file, `inputs` weights of a quantized type, in place of output `lane` of a panel.
// The panel was zeroed before.
void pack_quantized(tensor::DataType type, const std::byte* row, std::uint32_t inputs,
                    std::uint32_t lane, std::byte* panel);

// The weights of output `lane` of a panel, with the bits that tensor::dequantize gives.
void unpack_quantized(tensor::DataType type, const std::byte* panel, std::uint32_t lane,
                      std::span<float> weights);

}  // namespace holdfast::cpu
