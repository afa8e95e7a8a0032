#include "backend/cpu/kernels.h"

#include <utility>

#include "base/assert.h"

namespace holdfast::cpu {

const Kernels& kernels(Isa isa) {
    HF_ASSERT(is_supported(isa));
    switch (isa) {
        case Isa::scalar:
            return scalar_kernels;
        case Isa::avx2:
            return avx2_kernels;
        case Isa::avx512:
            return avx512_kernels;
        case Isa::vnni:
            return vnni_kernels;
    }
    std::unreachable();
}

bool has_native_numerics() {
    return is_supported(Isa::vnni) && __builtin_cpu_supports("avx512bf16");
}

const Kernels& native_kernels() {
    HF_ASSERT(has_native_numerics());
    return bf16_kernels;
}

}  // namespace holdfast::cpu
