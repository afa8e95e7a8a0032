#include "inference/backend/cpu/kernels.h"

#include <utility>

#include "common/base/assert.h"
#include "inference/backend/cpu/amx.h"

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

bool has_numerics(Numerics numerics) {
    if (numerics == Numerics::portable) return true;
    const bool bf16 = is_supported(Isa::vnni) && __builtin_cpu_supports("avx512bf16");
    return bf16 && (numerics == Numerics::bf16dot || has_amx_bf16());
}

Numerics native_numerics() {
    return has_numerics(Numerics::amx) ? Numerics::amx : Numerics::bf16dot;
}

const Kernels& native_kernels(Numerics numerics) {
    HF_ASSERT(numerics != Numerics::portable && has_numerics(numerics));
    return numerics == Numerics::amx ? amx_kernels : bf16_kernels;
}

}  // namespace holdfast::cpu
