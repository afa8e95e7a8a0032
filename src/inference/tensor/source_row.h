// Rows of matrices on their way from a file to where they are computed with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "inference/tensor/data_type.h"

namespace holdfast::tensor {

// A row of a matrix in the format of weight files (little-endian).
struct SourceRow {
    DataType type = DataType::other;
    const std::byte* bytes = nullptr;
};

// The row of an output. Any thread may call it.
using RowOf = std::function<SourceRow(std::uint32_t output)>;

// Writes the row in `type`, bytes_of(type, numbers.size()) bytes: copied where it has this type,
// else converted (quantize.h). `numbers` is scratch for one row.
void write_row(const SourceRow& row, DataType type, std::span<float> numbers, std::byte* to);

}  // namespace holdfast::tensor
