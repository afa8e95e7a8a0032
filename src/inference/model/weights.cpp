#include "inference/model/weights.h"

#include <algorithm>
#include <utility>

#include "common/base/assert.h"

namespace holdfast::model {
namespace {

using tensor::DataType;
using tensor::Role;

// Which of all gates and then all ups stands at an output of a packed matrix, where a panel has
// gates and their ups.
std::uint32_t gate_or_up(std::uint32_t output, std::uint32_t ffn) {
    constexpr std::uint32_t half = cpu::panel_outputs / 2;
    const std::uint32_t in_panel = output % cpu::panel_outputs;
    const std::uint32_t index = output / cpu::panel_outputs * half + in_panel % half;
    return in_panel < half ? index : ffn + index;
}

}  // namespace

WeightPacker::WeightPacker(const tensor::Config& config, cpu::Numerics numerics, cores::Pool& pool)
    : numerics_(numerics), pool_(pool) {
    weights_.config = config;
    weights_.layers.resize(config.layers);
}

std::vector<float>& WeightPacker::vector_of(Role role, std::uint32_t layer) {
    switch (role) {
        case Role::attention_norm:
            return weights_.layers[layer].attention_norm;
        case Role::qkv_bias:
            return weights_.layers[layer].qkv_bias;
        case Role::ffn_norm:
            return weights_.layers[layer].ffn_norm;
        default:
            HF_ASSERT(role == Role::final_norm);
            return weights_.final_norm;
    }
}

cpu::PackedMatrix& WeightPacker::matrix_of(Role role, std::uint32_t layer) {
    switch (role) {
        case Role::qkv:
            return weights_.layers[layer].qkv.emplace_back();
        case Role::attention_output:
            return weights_.layers[layer].attention_output;
        case Role::gate_up:
            return weights_.layers[layer].gate_up;
        case Role::down:
            return weights_.layers[layer].down;
        default:
            HF_ASSERT(role == Role::head);
            return weights_.head;
    }
}

base::Result<> WeightPacker::vector(Role role, std::uint32_t layer, std::uint32_t size,
                                    const VectorOf& values) {
    std::vector<float>& kept = vector_of(role, layer);
    kept = values();
    HF_ASSERT(kept.size() == size);
    return {};
}

base::Result<> WeightPacker::matrix(Role role, std::uint32_t layer, DataType type,
                                    std::uint32_t outputs, std::uint32_t inputs,
                                    const tensor::RowOf& row_of) {
    HF_TRY_ASSIGN(auto packed,
                  cpu::PackedMatrix::reserve(type, outputs, inputs, numerics_, &pool_));
    if (role == Role::gate_up)
        packed.fill(pool_,
                    [&](std::uint32_t output) { return row_of(gate_or_up(output, outputs / 2)); });
    else
        packed.fill(pool_, row_of);
    matrix_of(role, layer) = std::move(packed);
    return {};
}

base::Result<> WeightPacker::table(DataType type, std::uint32_t rows, std::uint32_t columns,
                                   const tensor::RowOf& row_of) {
    const std::size_t row_bytes = tensor::bytes_of(type, columns);
    HF_TRY_ASSIGN(weights_.embedding,
                  cpu::Memory::reserve(row_bytes * rows, "the embedding", &pool_));
    weights_.embedding_type = type;
    constexpr std::uint32_t rows_per_task = 64;
    const std::uint32_t tasks = (rows + rows_per_task - 1) / rows_per_task;
    pool_.run(tasks, std::uint64_t{rows} * columns, [&](std::uint32_t task) {
        std::vector<float> numbers(columns);
        const std::uint32_t end = std::min(rows, (task + 1) * rows_per_task);
        for (std::uint32_t i = task * rows_per_task; i < end; ++i)
            tensor::write_row(row_of(i), type, numbers, weights_.embedding.data() + i * row_bytes);
    });
    return {};
}

base::Result<> WeightCounter::vector(Role /*role*/, std::uint32_t /*layer*/, std::uint32_t size,
                                     const VectorOf& /*values*/) {
    bytes_.reserved += size * sizeof(float);
    return {};
}

base::Result<> WeightCounter::matrix(Role role, std::uint32_t /*layer*/, DataType type,
                                     std::uint32_t outputs, std::uint32_t inputs,
                                     const tensor::RowOf& /*row_of*/) {
    const std::size_t packed = cpu::PackedMatrix::needed_bytes(type, outputs, inputs);
    bytes_.reserved += cpu::Memory::backed_bytes(packed);
    bytes_.step += packed;
    bytes_.exact += packed;
    if (role != Role::head) bytes_.quantized |= tensor::is_quantized(type);
    return {};
}

base::Result<> WeightCounter::table(DataType type, std::uint32_t rows, std::uint32_t columns,
                                    const tensor::RowOf& /*row_of*/) {
    const std::size_t bytes = rows * tensor::bytes_of(type, columns);
    bytes_.reserved += cpu::Memory::backed_bytes(bytes);
    bytes_.exact += bytes;
    return {};
}

}  // namespace holdfast::model
