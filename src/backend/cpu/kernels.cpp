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
    }
    std::unreachable();
}

}  // namespace holdfast::cpu
