// The order in which a checkpoint's tensors are read, and what is made of them.
#pragma once

#include <functional>
#include <optional>

#include "common/base/error.h"
#include "inference/tensor/checkpoint.h"
#include "inference/tensor/config.h"
#include "inference/tensor/data_type.h"
#include "inference/tensor/weight_sink.h"

namespace holdfast::model {

// Told of everything that a walk reads, in its order.
class TensorReader {
public:
    virtual ~TensorReader() = default;
    // Called before any of the tensor's rows is given away.
    virtual base::Result<> read(const tensor::Tensor& tensor) = 0;
    // A matrix or table of this type is made of what was read since the last one.
    virtual void made(tensor::DataType type) = 0;
};

// Gives all weights of a decoder to the sink; names, shapes and types are checked on the way. See
// WeightSource for `converted` and `on_progress`. Returns the type of most of the layers' bytes.
[[nodiscard]] base::Result<tensor::DataType> walk(
    const tensor::Checkpoint& checkpoint, const tensor::Config& config,
    std::optional<tensor::DataType> converted, TensorReader& reader, tensor::WeightSink& sink,
    const std::function<void(double share)>& on_progress = {});

}  // namespace holdfast::model
