// The rows of models with made-up weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "inference/tensor/config.h"
#include "inference/tensor/data_type.h"
#include "inference/tensor/source_row.h"

namespace holdfast::model {

// Rows of numbers that are evenly distributed with one variance. Each begins somewhere in one long
// run of them, which the class owns and makes when the first row is asked for. Any thread.
class RandomRows {
public:
    RandomRows(tensor::DataType type, std::uint32_t inputs, float variance)
        : type_(type), inputs_(inputs), variance_(variance) {}

    tensor::DataType type() const { return type_; }
    std::uint32_t inputs() const { return inputs_; }
    std::size_t row_bytes() const { return tensor::bytes_of(type_, inputs_); }

    // The same for the same matrix and output, on every machine.
    tensor::SourceRow row(std::uint32_t matrix, std::uint32_t output) const;

private:
    void make_run() const;

    tensor::DataType type_;
    std::uint32_t inputs_;
    float variance_;
    mutable std::once_flag made_;
    mutable std::vector<std::byte> run_;
};

// With which a layer's outputs are about as large as its inputs.
inline float variance_for(std::uint32_t inputs) { return 1.0F / static_cast<float>(inputs); }

// Refuses a shape whose rows are no whole blocks of the type.
[[nodiscard]] base::Result<> check_blocks(const tensor::Config& config, tensor::DataType type);

}  // namespace holdfast::model
