// Which tensors a GGUF file of a model has, of which type, and from which numbers.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "inference/tensor/checkpoint.h"
#include "inference/tensor/config.h"
#include "inference/tensor/gguf_writer.h"

namespace holdfast::convert {

struct PlannedTensor {
    tensor::GgufTensor target;
    const tensor::Tensor* source = nullptr;  // null: the numbers are `values`
    std::span<const float> values;
    bool fell_back = false;  // to a type other than the one asked for
    // The length of the heads whose rows change places, or 0: see
    // Checkpoint::has_interleaved_heads.
    std::uint32_t interleaved_head_dim = 0;

    std::size_t row_elements() const { return target.shape.back(); }
    std::size_t rows() const;
    // Where row `row` of the target stands in the source.
    std::size_t source_row(std::size_t row) const;
};

// Matrices become `type`, the head `head`, vectors f32; see tensor::fitting_type.
struct TypeChoice {
    tensor::DataType type = tensor::DataType::q8_0;
    tensor::DataType head = tensor::DataType::q8_0;
};

// All tensors of the architecture, each checked to be there with its shape. The plan points into
// the checkpoint and into `divisors`, what rotary frequencies are divided by (empty for nothing).
[[nodiscard]] base::Result<std::vector<PlannedTensor>> make_plan(
    const tensor::Checkpoint& checkpoint, const tensor::Config& config, const TypeChoice& types,
    std::span<const float> divisors);

}  // namespace holdfast::convert
