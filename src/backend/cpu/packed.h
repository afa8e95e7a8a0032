// Weights in the layout that the kernels read: panels of 32 outputs, and within a panel, for each
// input, the 32 weights side by side. bf16 pairs output i (low half of a 32-bit word) with output
// 16 + i (high half), so that a shift and a mask widen it. One layout for all instruction sets.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "backend/cpu/kernels.h"
#include "backend/cpu/memory.h"
#include "backend/cpu/pool.h"
#include "tensor/data_type.h"

namespace holdfast::cpu {

// Immutable once filled. Owns its memory.
class PackedMatrix {
public:
    PackedMatrix() = default;
    [[nodiscard]] static base::Result<PackedMatrix> reserve(tensor::DataType type,
                                                            std::uint32_t outputs,
                                                            std::uint32_t inputs);
    static std::size_t needed_bytes(tensor::DataType type, std::uint32_t outputs,
                                    std::uint32_t inputs);

    tensor::DataType type() const { return type_; }
    std::uint32_t outputs() const { return outputs_; }
    std::uint32_t inputs() const { return inputs_; }
    std::uint32_t panels() const { return (outputs_ + panel_outputs - 1) / panel_outputs; }
    std::size_t panel_bytes() const {
        return std::size_t{panel_outputs} * inputs_ * tensor::bytes_of(type_, 1);
    }
    std::byte* data() const { return memory_.data(); }

    // Fills all panels: row(output) gives the `inputs` weights of an output, little-endian.
    void fill(Pool& pool, const std::function<const std::byte*(std::uint32_t output)>& row);

    // The weights of one output, widened: an embedding row when the head is tied to it.
    void copy_output(std::uint32_t output, float* weights) const;

private:
    std::size_t offset_bytes(std::uint32_t output, std::uint32_t input) const;

    Memory memory_;
    tensor::DataType type_ = tensor::DataType::other;
    std::uint32_t outputs_ = 0, inputs_ = 0;
};

// Widens `count` numbers exactly.
void widen(tensor::DataType type, const std::byte* from, std::size_t count, float* to);

// The index of the first infinite or undefined number, or `count`.
std::size_t find_not_finite(tensor::DataType type, const std::byte* from, std::size_t count);

}  // namespace holdfast::cpu
