#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/base/error.h"
#include "inference/model/device.h"
#include "inference/model/weight_source.h"
#include "inference/tensor/config.h"
#include "inference/tensor/data_type.h"

namespace holdfast::perf {

// What a model's file holds, as far as its directory tells; weights are not read.
class FileWeights {
public:
    // Of a Hugging Face folder or a GGUF file. Errors name file and tensor.
    [[nodiscard]] static base::Result<FileWeights> open(const std::string& path);

    const tensor::Config& config() const { return source_->config(); }

    // The types of all matrices, converted to `type` (model::LoadOptions) or as they are: "q4_k,
    // q6_k"; "q8_0 for q4_k" where no matrix can have the wanted type.
    std::string names(std::optional<tensor::DataType> type) const;
    // Whether all matrices of the layers can have this type.
    bool can_have(tensor::DataType type) const;

    // What they take on a device, converted to `type` or as they are.
    [[nodiscard]] base::Result<model::WeightBytes> bytes(
        const model::Device& device, std::optional<tensor::DataType> type) const {
        return device.weight_bytes(*source_, type);
    }

private:
    explicit FileWeights(std::unique_ptr<model::WeightSource> source)
        : source_(std::move(source)) {}

    std::unique_ptr<model::WeightSource> source_;
};

}  // namespace holdfast::perf
