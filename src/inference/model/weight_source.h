// Where a model's weights come from: a checkpoint, or nowhere (random.h).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/base/error.h"
#include "common/cores/pool.h"
#include "inference/model/fingerprint.h"
#include "inference/tensor/config.h"
#include "inference/tensor/data_type.h"
#include "inference/tensor/weight_sink.h"

namespace holdfast::model {

// What gave its weights.
struct Given {
    Fingerprint fingerprint;
    tensor::DataType layers_type = tensor::DataType::other;  // of most of the layers' bytes
};

// Gives the same weights in the same order every time. One thread.
class WeightSource {
public:
    virtual ~WeightSource() = default;
    virtual const tensor::Config& config() const = 0;

    // Names, types and sizes alone: no values may be asked for. Matrices become `converted`, or
    // stay as they are (gate and up of different types become the one with more bits). Errors as
    // far as the source's directory tells.
    virtual base::Result<> list(std::optional<tensor::DataType> converted,
                                tensor::WeightSink& sink) const = 0;

    // The same with values, which are checked and hashed on all threads of the pool before the sink
    // may ask for them. Numbers that are infinite or undefined, or beyond the wanted type, are
    // refused. `on_progress` gets shares in (0, 1].
    virtual base::Result<Given> give(
        std::optional<tensor::DataType> converted, tensor::WeightSink& sink, cores::Pool& pool,
        const std::function<void(double share)>& on_progress) const = 0;
};

// A Hugging Face folder or a GGUF file. Errors name file, field and reason.
[[nodiscard]] base::Result<std::unique_ptr<WeightSource>> open_weights(const std::string& path);

// What head and embedding become when the layers are converted to `layers`. They decide directly
// what is said and are a small part of a large model, so they get at least 6 bits. See
// tensor::fitting_type for rows that are no whole blocks.
tensor::DataType head_type(tensor::DataType layers, std::uint32_t hidden);

}  // namespace holdfast::model
