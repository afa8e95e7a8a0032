// The reference of what quantized numbers mean, and the way into them. Plain code that gives the
// same bits on every machine: kernels have their own layouts and are tested against this.
#pragma once

#include <cstddef>
#include <span>

#include "inference/tensor/data_type.h"

namespace holdfast::tensor {

// The values of a row of `to.size()` elements, a whole number of blocks. Any type but `other`.
void dequantize(DataType type, const std::byte* from, std::span<float> to);

// The closest that `type` can hold, block by block, the same on every machine: F16 and BF16 round
// to nearest even; Q8_0 and Q4_0 scale by the largest magnitude; the K types search for the scales
// (and minima) with the least squared error. `from` is finite. What is beyond the type's range
// becomes infinite, or a block with an infinite scale: find_not_finite() tells.
void quantize(DataType type, std::span<const float> from, std::byte* to);

// The index of the first number that is infinite or undefined, or `count`. In a quantized type a
// block with such a scale begins there. `count` is a whole number of blocks.
std::size_t find_not_finite(DataType type, const std::byte* from, std::size_t count);

}  // namespace holdfast::tensor
