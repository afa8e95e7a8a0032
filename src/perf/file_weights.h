#pragma once

#include <optional>
#include <string>

#include "base/error.h"
#include "perf/work.h"
#include "tensor/checkpoint.h"
#include "tensor/config.h"
#include "tensor/data_type.h"

namespace holdfast::perf {

// What a model's file holds, as far as its directory tells; weights are not read.
class FileWeights {
public:
    // Of a Hugging Face folder or a GGUF file. Errors name file and tensor.
    [[nodiscard]] static base::Result<FileWeights> open(const std::string& path);

    const tensor::Config& config() const { return config_; }
    tensor::DataType type() const { return type_; }      // of the first layer's queries
    const std::string& names() const { return names_; }  // of all its matrices: "q4_k, q6_k"

    // In memory, converted to `type` or as they are. Errors: rows that are no whole blocks of it.
    [[nodiscard]] base::Result<WeightBytes> bytes(std::optional<tensor::DataType> type) const;

private:
    FileWeights(tensor::Config config, tensor::Checkpoint checkpoint);
    base::Result<> list_types();

    tensor::Config config_;
    tensor::Checkpoint checkpoint_;
    tensor::DataType type_ = tensor::DataType::other, embedding_type_ = tensor::DataType::other;
    std::string names_;
};

}  // namespace holdfast::perf
