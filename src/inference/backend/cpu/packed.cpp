#include "inference/backend/cpu/packed.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "common/base/assert.h"
#include "inference/backend/cpu/interleave.h"
#include "inference/backend/cpu/quantized_layout.h"
#include "inference/backend/cpu/quantized_packing.h"
#include "inference/tensor/float16.h"

namespace holdfast::cpu {
namespace {

using tensor::DataType;

// Where output `lane` of a panel stands among the 32 weights of one input.
std::size_t lane_index(DataType type, std::size_t lane) {
    return type == DataType::bf16 ? lane % 16 * 2 + lane / 16 : lane;
}

// The rows of a panel in the matrix's type, converted where they are not.
class Converter {
public:
    Converter(DataType to, std::uint32_t inputs) : to_(to), inputs_(inputs) {}

    const std::byte* operator()(std::size_t lane, const tensor::SourceRow& row) {
        if (row.type == to_) return row.bytes;
        const std::size_t row_bytes = tensor::bytes_of(to_, inputs_);
        numbers_.resize(inputs_);
        bytes_.resize(panel_outputs * row_bytes);
        std::byte* const at = bytes_.data() + lane * row_bytes;
        tensor::write_row(row, to_, numbers_, at);
        return at;
    }

private:
    DataType to_;
    std::uint32_t inputs_;
    std::vector<float> numbers_;
    std::vector<std::byte> bytes_;
};

std::size_t one_panel_bytes(DataType type, std::uint32_t inputs) {
    return tensor::is_quantized(type) ? quant_layout(type).panel_bytes(inputs)
                                      : panel_outputs * tensor::bytes_of(type, inputs);
}

}  // namespace

std::size_t PackedMatrix::needed_bytes(DataType type, std::uint32_t outputs, std::uint32_t inputs) {
    const std::size_t panels = (std::size_t{outputs} + panel_outputs - 1) / panel_outputs;
    return panels * one_panel_bytes(type, inputs);
}

std::size_t PackedMatrix::panel_bytes() const { return one_panel_bytes(type_, inputs_); }

base::Result<PackedMatrix> PackedMatrix::reserve(DataType type, std::uint32_t outputs,
                                                 std::uint32_t inputs, Numerics numerics,
                                                 cores::Pool* pool) {
    HF_ASSERT(type != DataType::other);
    const std::uint32_t block = tensor::traits(type).block_elements;
    if (inputs % block != 0)
        return base::fail(base::Code::invalid,
                          "a matrix with {} inputs cannot be kept as {}, which needs a multiple of "
                          "{}",
                          inputs, tensor::name(type), block);
    PackedMatrix matrix;
    if (numerics != Numerics::portable && type == DataType::bf16) {
        if (!has_numerics(numerics))
            return base::fail(base::Code::unavailable,
                              "numerics {}: this processor lacks the instructions", name(numerics));
        if (inputs % 2 != 0)
            return base::fail(base::Code::invalid,
                              "native numerics: a matrix has {} inputs, an odd number", inputs);
        matrix.numerics_ = numerics;
    }
    HF_TRY_ASSIGN(matrix.memory_,
                  Memory::reserve(needed_bytes(type, outputs, inputs), "weights", pool));
    matrix.type_ = type;
    matrix.outputs_ = outputs;
    matrix.inputs_ = inputs;
    return matrix;
}

void PackedMatrix::fill(cores::Pool& pool, const tensor::RowOf& row_of) {
    pool.run(panels(), std::uint64_t{outputs_} * inputs_,
             [&](std::uint32_t panel) { fill_panel(panel, row_of); });
}

void PackedMatrix::fill_panel(std::uint32_t panel, const tensor::RowOf& row_of) {
    PanelRows rows{};
    Converter converted(type_, inputs_);
    const std::uint32_t first = panel * panel_outputs;
    for (std::uint32_t i = 0; i < panel_outputs && first + i < outputs_; ++i)
        rows[i] = converted(i, row_of(first + i));
    std::byte* const to = data() + panel * panel_bytes();
    if (tensor::is_quantized(type_)) {
        for (std::uint32_t i = 0; i < panel_outputs; ++i)
            if (rows[i] != nullptr) pack_quantized(type_, rows[i], inputs_, i, to);
    } else if (type_ == DataType::f32) {
        interleave_words(rows, inputs_, to);
    } else if (numerics_ != Numerics::portable) {
        interleave_words(rows, inputs_ / 2, to);  // a pair of inputs is one element
    } else {
        interleave_halves(rows, inputs_,
                          type_ == DataType::bf16 ? Pairs::halves : Pairs::neighbours, to);
    }
}

std::size_t PackedMatrix::offset_bytes(std::uint32_t output, std::uint32_t input) const {
    const std::size_t lane = output % panel_outputs;
    const std::size_t in_panel =
        numerics_ != Numerics::portable
            ? (input / 2 * std::size_t{panel_outputs} + lane) * 2 + input % 2
            : input * std::size_t{panel_outputs} + lane_index(type_, lane);
    return output / panel_outputs * panel_bytes() + in_panel * tensor::bytes_of(type_, 1);
}

void PackedMatrix::copy_output(std::uint32_t output, float* weights) const {
    HF_ASSERT(output < outputs_);
    if (tensor::is_quantized(type_)) {
        const std::byte* const panel = data() + output / panel_outputs * panel_bytes();
        unpack_quantized(type_, panel, output % panel_outputs, {weights, inputs_});
        return;
    }
    for (std::uint32_t k = 0; k < inputs_; ++k)
        widen(type_, data() + offset_bytes(output, k), 1, weights + k);
}

void widen(DataType type, const std::byte* from, std::size_t count, float* to) {
    switch (type) {
        case DataType::bf16:
            for (std::size_t i = 0; i < count; ++i) to[i] = tensor::load_bf16(from + 2 * i);
            return;
        case DataType::f16:
            for (std::size_t i = 0; i < count; ++i) to[i] = tensor::load_f16(from + 2 * i);
            return;
        case DataType::f32:
            std::memcpy(to, from, count * sizeof(float));
            return;
        default:
            break;
    }
    HF_ASSERT(false);
}

}  // namespace holdfast::cpu
