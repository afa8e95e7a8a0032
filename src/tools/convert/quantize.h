// A model's weights in another format: a Hugging Face folder or a GGUF file in, a GGUF file out.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "inference/tensor/data_type.h"

namespace holdfast::convert {

enum class Step { writing, checking };

struct QuantizeOptions {
    std::string in, out;
    tensor::DataType type = tensor::DataType::q8_0;
    // none: default_head().
    std::optional<tensor::DataType> head;
    unsigned threads = 1;
    bool replace = false;  // `out` may exist
    // The share of a step that is done, from the calling thread; false gives up.
    std::function<bool(Step step, double share)> on_progress;
};

// The head decides which token comes out: with fewer than 6 bits for the layers it gets q6_k.
tensor::DataType default_head(tensor::DataType type);

struct TypeReport {
    tensor::DataType type = tensor::DataType::other;
    std::size_t tensors = 0;
    std::uint64_t weights = 0, bytes = 0;
    // Root mean square of what was lost, as a share of the root mean square of the weights.
    double relative_error = 0;
};

struct QuantizeReport {
    std::vector<TypeReport> types;  // those that occur
    std::uint64_t file_bytes = 0;
    double bits_per_weight = 0;
    // Tensors whose rows are no whole number of blocks of the type that was asked for.
    std::size_t fallbacks = 0;
    bool was_quantized = false;  // the input: its losses add up with these
};

// Streams tensor by tensor: needs little memory beside the mapped input. The output gets its name
// only when it was read back and compared with the input. The same input gives the same bytes,
// whatever the number of threads. Errors name the file or the tensor and the reason; whatever
// happens, there is a whole file under the name or none (or the old one). `cancelled` if
// on_progress gave up.
[[nodiscard]] base::Result<QuantizeReport> quantize(const QuantizeOptions& options);

}  // namespace holdfast::convert
