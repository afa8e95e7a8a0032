#include "inference/backend/cpu/isa.h"

#include <utility>

namespace holdfast::cpu {

std::string_view name(Isa isa) {
    switch (isa) {
        case Isa::scalar:
            return "scalar";
        case Isa::avx2:
            return "avx2";
        case Isa::avx512:
            return "avx512";
        case Isa::vnni:
            return "vnni";
    }
    std::unreachable();
}

// The compiler's check covers the operating system's support for the wide registers too.
bool is_supported(Isa isa) {
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("f16c");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
    switch (isa) {
        case Isa::scalar:
            return true;
        case Isa::avx2:
            return avx2;
        case Isa::avx512:
            return avx512;
        case Isa::vnni:
            return avx512 && __builtin_cpu_supports("avx512vnni");
    }
    std::unreachable();
}

base::Result<Isa> choose_isa(std::string_view wanted) {
    Isa best = Isa::scalar;
    for (const Isa isa : all_isas) {
        if (wanted == name(isa)) {
            if (is_supported(isa)) return isa;
            return base::fail(base::Code::unavailable, "isa: this processor does not support {}",
                              wanted);
        }
        if (is_supported(isa)) best = isa;
    }
    if (wanted.empty()) return best;
    return base::fail(base::Code::invalid, "isa: \"{}\" is none of scalar, avx2, avx512, vnni",
                      wanted);
}

}  // namespace holdfast::cpu
