#include "inference/backend/cpu/vectors_avx512.h"

// After what it is made of.
#include "inference/backend/cpu/kernels_body.h"

namespace holdfast::cpu {
constinit const Kernels avx512_kernels = make_kernels(Isa::avx512);
}  // namespace holdfast::cpu
