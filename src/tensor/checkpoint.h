#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "tensor/file_map.h"
#include "tensor/safetensors.h"

namespace holdfast::tensor {

// The weights of a Hugging Face folder: model.safetensors, or the shards that
// model.safetensors.index.json names. Owns the mapped files; tensors point into them.
// Immutable after open, any thread.
class Checkpoint {
public:
    // Errors name the file and the reason. Shards are plain file names inside the folder.
    [[nodiscard]] static base::Result<Checkpoint> open(const std::string& folder);

    // The tensor with this name and shape and a type that can be computed with. Errors name the
    // tensor, and both shapes when they differ.
    [[nodiscard]] base::Result<const Tensor*> get(std::string_view name,
                                                  std::initializer_list<std::uint64_t> shape) const;

private:
    explicit Checkpoint(std::string folder) : folder_(std::move(folder)) {}
    base::Result<> add_file(const std::string& name);
    base::Result<> add_shards(const std::string& index_path);
    base::Result<> sort_and_refuse_twins();

    std::string folder_;
    std::vector<FileMap> files_;
    std::vector<Tensor> tensors_;  // by name
};

}  // namespace holdfast::tensor
