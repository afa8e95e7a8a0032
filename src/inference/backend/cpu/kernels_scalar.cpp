// The reference: plain C++ that says what the numbers are. std::fma rounds once on every machine.
#include <bit>
#include <cmath>
#include <cstring>

#include "inference/backend/cpu/kernels.h"
#include "inference/tensor/float16.h"

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
        low.v = tensor::load_f16(at);
        high.v = tensor::load_f16(at + 32);
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

struct Ints {
    static constexpr std::ptrdiff_t width = 1;
    static constexpr int block_vectors = 1, block_rows = 1;
    static constexpr std::int32_t byte_offset = 128;
    std::uint32_t v;

    static Ints all(std::int32_t x) { return {static_cast<std::uint32_t>(x)}; }
    static Ints all_bytes(std::uint8_t x) { return {x * 0x0101'0101U}; }
    static Ints load(const std::byte* p) {
        Ints word{};
        std::memcpy(&word.v, p, sizeof word.v);
        return word;
    }
    Lanes to_float() const { return {static_cast<float>(static_cast<std::int32_t>(v))}; }
    // sums + the products of four unsigned weights with four signed numbers.
    template <bool>
    static Ints dot(Ints sums, Ints weights, Ints x) {
        for (int i = 0; i < 32; i += 8) {
            const auto weight = static_cast<std::int32_t>(weights.v >> i & 0xffU);
            const auto factor = static_cast<std::int8_t>(x.v >> i & 0xffU);
            sums.v += static_cast<std::uint32_t>(weight * factor);
        }
        return sums;
    }
    friend Ints operator&(Ints a, Ints b) { return {a.v & b.v}; }
    friend Ints operator|(Ints a, Ints b) { return {a.v | b.v}; }
    friend Ints operator<<(Ints a, int bits) { return {a.v << bits}; }
    friend Ints operator>>(Ints a, int bits) { return {a.v >> bits}; }
};

Lanes load_float16(const std::byte* at) { return {tensor::load_f16(at)}; }
Lanes load_unsigned_bytes(const std::byte* at) {
    return {static_cast<float>(std::to_integer<std::uint8_t>(*at))};
}
Lanes load_signed_bytes(const std::byte* at) {
    return {static_cast<float>(std::to_integer<std::int8_t>(*at))};
}

}  // namespace
}  // namespace holdfast::cpu

#include "inference/backend/cpu/kernels_body.h"

namespace holdfast::cpu {
constinit const Kernels scalar_kernels = make_kernels(Isa::scalar);
}  // namespace holdfast::cpu
