// The reference: plain C++ that says what the numbers are. std::fma rounds once on every machine.
#include <bit>
#include <cmath>
#include <cstring>

#include "backend/cpu/float16.h"
#include "backend/cpu/kernels.h"

namespace holdfast::cpu {
namespace {

constexpr int accumulators_max = 32;
constexpr int tile_rows_max = 4;

struct Lanes {
    static constexpr std::ptrdiff_t width = 1;
    float v;

    static Lanes all(float x) { return {x}; }
    static Lanes load(const float* p) { return {*p}; }
    void store(float* p) const { *p = v; }
    static Lanes fma(Lanes a, Lanes b, Lanes c) { return {std::fma(a.v, b.v, c.v)}; }
    static Lanes max(Lanes a, Lanes b) { return {a.v > b.v ? a.v : b.v}; }
    static Lanes min(Lanes a, Lanes b) { return {a.v < b.v ? a.v : b.v}; }
    // x where a >= b or either is not a number, else 0.
    static Lanes zero_where_below(Lanes a, Lanes b, Lanes x) { return {a.v < b.v ? 0.0F : x.v}; }
    // x * 2^n, where n stands in the low bits of shifted = n + 1.5 * 2^23.
    static Lanes scale_by_power(Lanes x, Lanes shifted) {
        const std::uint32_t exponent = std::bit_cast<std::uint32_t>(shifted.v) << 23;
        return {std::bit_cast<float>(std::bit_cast<std::uint32_t>(x.v) + exponent)};
    }
    friend Lanes operator+(Lanes a, Lanes b) { return {a.v + b.v}; }
    friend Lanes operator-(Lanes a, Lanes b) { return {a.v - b.v}; }
    friend Lanes operator*(Lanes a, Lanes b) { return {a.v * b.v}; }
    friend Lanes operator/(Lanes a, Lanes b) { return {a.v / b.v}; }
};

struct Bf16Panel {
    static constexpr std::size_t element_bytes = 2;
    const std::byte* weights;
    explicit Bf16Panel(const std::byte* panel) : weights(panel) {}
    void load(std::uint32_t k, int pair, Lanes& low, Lanes& high) const {
        std::uint32_t both = 0;
        std::memcpy(&both, weights + (k * std::size_t{16} + pair) * 4, sizeof both);
        low.v = std::bit_cast<float>(both << 16);
        high.v = std::bit_cast<float>(both & 0xffff'0000U);
    }
};

struct F16Panel {
    static constexpr std::size_t element_bytes = 2;
    const std::byte* weights;
    explicit F16Panel(const std::byte* panel) : weights(panel) {}
    void load(std::uint32_t k, int pair, Lanes& low, Lanes& high) const {
        const std::byte* const at = weights + (k * std::size_t{32} + pair) * 2;
        low.v = load_f16(at);
        high.v = load_f16(at + 32);
    }
};

struct F32Panel {
    static constexpr std::size_t element_bytes = 4;
    const float* weights;
    explicit F32Panel(const std::byte* panel) : weights(reinterpret_cast<const float*>(panel)) {}
    void load(std::uint32_t k, int pair, Lanes& low, Lanes& high) const {
        low.v = weights[k * std::size_t{32} + pair];
        high.v = weights[k * std::size_t{32} + pair + 16];
    }
};

}  // namespace
}  // namespace holdfast::cpu

#include "backend/cpu/kernels_body.h"

namespace holdfast::cpu {
constinit const Kernels scalar_kernels = make_kernels(Isa::scalar);
}  // namespace holdfast::cpu
