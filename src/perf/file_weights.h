#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/error.h"
#include "tensor/config.h"
#include "tensor/data_type.h"

namespace holdfast::perf {

// In which formats a checkpoint keeps its matrices.
struct FileWeights {
    tensor::Config config;
    std::vector<tensor::DataType> types;  // those of the layers and the head, each once
    std::size_t step_bytes = 0;           // of all layers and the head
    std::string names() const;            // "q4_k, q6_k"
};

// Of a Hugging Face folder or a GGUF file; reads no weights. Errors name file and tensor.
[[nodiscard]] base::Result<FileWeights> read_file_weights(const std::string& path);

}  // namespace holdfast::perf
