// Products of the tensor core by every instruction that kernels of this backend use, alone.
#pragma once

#include <cstdint>

#include "inference/backend/cuda/reference.h"

namespace holdfast::cuda::testing {

enum class Way : std::uint8_t {
    warpgroup_shared,     // wgmma, both operands in shared memory
    warpgroup_registers,  // wgmma, weights from registers
    warp,                 // mma.sync, weights as A
    warp_swapped          // mma.sync, weights as B
};

// d[row][column] = sum over k of a[row][k] b[column][k], for 64 rows and `columns` columns, k a
// multiple of 64; device pointers. Returns the cudaError_t of all that it did.
int multiply(Way way, Operand type, std::uint32_t columns, const std::uint16_t* a,
             const std::uint16_t* b, std::uint32_t k, float* d);

}  // namespace holdfast::cuda::testing
