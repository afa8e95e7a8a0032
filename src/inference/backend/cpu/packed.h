// Weights in the layout that the kernels read: panels of 32 outputs, and within a panel, for each
// input, the 32 weights side by side. bf16 pairs output i (low half of a 32-bit word) with output
// 16 + i (high half), so that a shift and a mask widen it; for native numerics, a word holds inputs
// 2k and 2k + 1 of one output. Quantized weights: see quantized_layout.h. One layout for all
// instruction sets.
#pragma once

#include <cstdint>
#include <span>

#include "common/cores/pool.h"
#include "inference/backend/cpu/kernels.h"
#include "inference/backend/cpu/memory.h"
#include "inference/tensor/data_type.h"
#include "inference/tensor/source_row.h"

namespace holdfast::cpu {

// Immutable once filled. Owns its memory.
class PackedMatrix {
public:
    PackedMatrix() = default;
    // Native numerics change bf16 weights only. The pool is for Memory::reserve. Errors: invalid
    // when the inputs are not whole blocks of the type, or native bf16 has an odd number of them;
    // unavailable when there is too little memory, or the processor lacks the instructions of
    // native numerics.
    [[nodiscard]] static base::Result<PackedMatrix> reserve(tensor::DataType type,
                                                            std::uint32_t outputs,
                                                            std::uint32_t inputs,
                                                            Numerics numerics = Numerics::portable,
                                                            cores::Pool* pool = nullptr);
    static std::size_t needed_bytes(tensor::DataType type, std::uint32_t outputs,
                                    std::uint32_t inputs);

    tensor::DataType type() const { return type_; }
    Numerics numerics() const { return numerics_; }
    std::uint32_t outputs() const { return outputs_; }
    std::uint32_t inputs() const { return inputs_; }
    std::uint32_t panels() const { return (outputs_ + panel_outputs - 1) / panel_outputs; }
    std::size_t panel_bytes() const;
    std::byte* data() const { return memory_.data(); }

    // Fills all panels, once: row_of(output) gives the `inputs` weights of an output, and may be
    // called by any thread of the pool. Weights of another type are converted on the way, a panel
    // at a time (tensor::write_row), so that no second copy of the matrix is needed.
    void fill(cores::Pool& pool, const tensor::RowOf& row_of);

    // The weights of one output as numbers: an embedding row when the head is tied to it.
    void copy_output(std::uint32_t output, float* weights) const;

private:
    void fill_panel(std::uint32_t panel, const tensor::RowOf& row_of);
    std::size_t offset_bytes(std::uint32_t output, std::uint32_t input) const;

    Memory memory_;
    tensor::DataType type_ = tensor::DataType::other;
    Numerics numerics_ = Numerics::portable;
    std::uint32_t outputs_ = 0, inputs_ = 0;
};

// Widens `count` numbers of a type that is not quantized, exactly.
void widen(tensor::DataType type, const std::byte* from, std::size_t count, float* to);

}  // namespace holdfast::cpu
