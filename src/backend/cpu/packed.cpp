#include "backend/cpu/packed.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "backend/cpu/float16.h"
#include "base/assert.h"

namespace holdfast::cpu {
namespace {

using tensor::DataType;

// Where output `lane` of a panel stands among the 32 weights of one input.
std::size_t lane_index(DataType type, std::size_t lane) {
    return type == DataType::bf16 ? lane % 16 * 2 + lane / 16 : lane;
}

template <class Element>
void fill_panel(DataType type, const std::array<const std::byte*, panel_outputs>& rows,
                std::uint32_t inputs, std::byte* panel) {
    constexpr std::uint32_t strip = 64;  // inputs whose packed weights stay in the first cache
    for (std::uint32_t begin = 0; begin < inputs; begin += strip) {
        const std::uint32_t end = std::min(inputs, begin + strip);
        for (std::size_t lane = 0; lane < panel_outputs; ++lane) {
            if (rows[lane] == nullptr) continue;  // padding stays zero
            std::byte* const to = panel + lane_index(type, lane) * sizeof(Element);
            for (std::size_t k = begin; k < end; ++k)
                std::memcpy(to + k * panel_outputs * sizeof(Element),
                            rows[lane] + k * sizeof(Element), sizeof(Element));
        }
    }
}

template <class Bits, Bits exponent>
std::size_t find_exponent(const std::byte* from, std::size_t count) {
    constexpr std::size_t strip = 4'096;
    for (std::size_t begin = 0; begin < count; begin += strip) {
        const std::size_t end = std::min(count, begin + strip);
        bool found = false;  // of the whole strip, so that the common case has no branch
        for (std::size_t i = begin; i < end; ++i) {
            Bits bits = 0;
            std::memcpy(&bits, from + i * sizeof bits, sizeof bits);
            found |= (bits & exponent) == exponent;
        }
        for (std::size_t i = begin; found && i < end; ++i) {
            Bits bits = 0;
            std::memcpy(&bits, from + i * sizeof bits, sizeof bits);
            if ((bits & exponent) == exponent) return i;
        }
    }
    return count;
}

}  // namespace

std::size_t PackedMatrix::needed_bytes(DataType type, std::uint32_t outputs, std::uint32_t inputs) {
    const std::size_t panels = (std::size_t{outputs} + panel_outputs - 1) / panel_outputs;
    return panels * panel_outputs * inputs * tensor::bytes_of(type, 1);
}

base::Result<PackedMatrix> PackedMatrix::reserve(DataType type, std::uint32_t outputs,
                                                 std::uint32_t inputs) {
    HF_ASSERT(type != DataType::other);
    PackedMatrix matrix;
    HF_TRY_ASSIGN(matrix.memory_, Memory::reserve(needed_bytes(type, outputs, inputs), "weights"));
    matrix.type_ = type;
    matrix.outputs_ = outputs;
    matrix.inputs_ = inputs;
    return matrix;
}

void PackedMatrix::fill(Pool& pool,
                        const std::function<const std::byte*(std::uint32_t output)>& row) {
    pool.run(panels(), std::uint64_t{outputs_} * inputs_, [&](std::uint32_t panel) {
        std::array<const std::byte*, panel_outputs> rows{};
        const std::uint32_t first = panel * panel_outputs;
        for (std::uint32_t i = 0; i < panel_outputs && first + i < outputs_; ++i)
            rows[i] = row(first + i);
        std::byte* const to = data() + panel * panel_bytes();
        if (type_ == DataType::f32)
            fill_panel<std::uint32_t>(type_, rows, inputs_, to);
        else
            fill_panel<std::uint16_t>(type_, rows, inputs_, to);
    });
}

std::size_t PackedMatrix::offset_bytes(std::uint32_t output, std::uint32_t input) const {
    const std::size_t in_panel =
        std::size_t{input} * panel_outputs + lane_index(type_, output % panel_outputs);
    return output / panel_outputs * panel_bytes() + in_panel * tensor::bytes_of(type_, 1);
}

void PackedMatrix::copy_output(std::uint32_t output, float* weights) const {
    HF_ASSERT(output < outputs_);
    for (std::uint32_t k = 0; k < inputs_; ++k)
        widen(type_, data() + offset_bytes(output, k), 1, weights + k);
}

void widen(DataType type, const std::byte* from, std::size_t count, float* to) {
    switch (type) {
        case DataType::bf16:
            for (std::size_t i = 0; i < count; ++i) to[i] = load_bf16(from + 2 * i);
            return;
        case DataType::f16:
            for (std::size_t i = 0; i < count; ++i) to[i] = load_f16(from + 2 * i);
            return;
        case DataType::f32:
            std::memcpy(to, from, count * sizeof(float));
            return;
        default:
            break;
    }
    HF_ASSERT(false);
}

std::size_t find_not_finite(DataType type, const std::byte* from, std::size_t count) {
    switch (type) {
        case DataType::bf16:
            return find_exponent<std::uint16_t, 0x7f80>(from, count);
        case DataType::f16:
            return find_exponent<std::uint16_t, 0x7c00>(from, count);
        case DataType::f32:
            return find_exponent<std::uint32_t, 0x7f80'0000>(from, count);
        default:
            break;
    }
    HF_ASSERT(false);
}

}  // namespace holdfast::cpu
