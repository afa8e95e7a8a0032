// The rows of models with made-up weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "inference/backend/cpu/packed.h"
#include "inference/tensor/config.h"
#include "inference/tensor/data_type.h"

namespace holdfast::model {

// Rows of numbers that are evenly distributed with one variance. Each begins somewhere in one long
// run of them, which the class owns.
class RandomRows {
public:
    RandomRows(tensor::DataType type, std::uint32_t inputs, float variance);

    tensor::DataType type() const { return type_; }
    std::uint32_t inputs() const { return inputs_; }
    std::size_t row_bytes() const { return tensor::bytes_of(type_, inputs_); }

    // The same for the same matrix and output, on every machine.
    cpu::SourceRow row(std::uint32_t matrix, std::uint32_t output) const;

private:
    tensor::DataType type_;
    std::uint32_t inputs_;
    std::vector<std::byte> run_;
};

// With which a layer's outputs are about as large as its inputs.
inline float variance_for(std::uint32_t inputs) { return 1.0F / static_cast<float>(inputs); }

// Refuses a shape whose rows are no whole blocks of the type.
[[nodiscard]] base::Result<> check_blocks(const tensor::Config& config, tensor::DataType type);

}  // namespace holdfast::model
