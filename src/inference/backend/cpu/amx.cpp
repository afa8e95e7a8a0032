#include "inference/backend/cpu/amx.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace holdfast::cpu {
namespace {

// Bits of EDX of CPUID leaf 7, subleaf 0.
constexpr unsigned amx_bf16_bit = 1U << 22, amx_tile_bit = 1U << 24;

// ARCH_REQ_XCOMP_PERM and XFEATURE_XTILEDATA, which older headers lack.
constexpr int request_permission = 0x1023, tile_data = 18;

bool detect() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
    constexpr unsigned needed = amx_bf16_bit | amx_tile_bit;
    return (d & needed) == needed && syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

}  // namespace

bool has_amx_bf16() {
    static const bool has = detect();
    return has;
}

}  // namespace holdfast::cpu
