#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "inference/tensor/checkpoint.h"
#include "inference/tensor/config.h"
#include "inference/tensor/data_type.h"
#include "tools/perf/work.h"

namespace holdfast::perf {

// What a model's file holds, as far as its directory tells; weights are not read.
class FileWeights {
public:
    // Of a Hugging Face folder or a GGUF file. Errors name file and tensor.
    [[nodiscard]] static base::Result<FileWeights> open(const std::string& path);

    const tensor::Config& config() const { return config_; }

    // The types of all matrices, converted to `type` (model::LoadOptions) or as they are: "q4_k,
    // q6_k"; "q8_0 for q4_k" where no matrix can have the wanted type.
    std::string names(std::optional<tensor::DataType> type) const;
    // Whether all matrices of the layers can have this type.
    bool can_have(tensor::DataType type) const;

    // In memory, converted to `type` or as they are.
    [[nodiscard]] base::Result<WeightBytes> bytes(std::optional<tensor::DataType> type) const;

private:
    struct Matrix {
        tensor::DataType type;
        std::uint32_t outputs, inputs;
    };

    FileWeights(tensor::Config config, tensor::Checkpoint checkpoint);
    base::Result<> list_matrices();
    std::size_t layers_end() const { return matrices_.size() - (config_.tied_head ? 1 : 2); }
    tensor::DataType type_of(std::size_t matrix, std::optional<tensor::DataType> wanted) const;
    base::Result<> add(const std::string& name, std::uint32_t outputs, std::uint32_t inputs);

    tensor::Config config_;
    tensor::Checkpoint checkpoint_;
    std::vector<Matrix>
        matrices_;  // of the layers, then the embedding, then the head if it has one
};

}  // namespace holdfast::perf
