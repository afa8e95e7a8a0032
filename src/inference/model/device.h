// Where models compute: this machine's processor, or a device with a backend of its own. What
// differs between them is asked here; whoever asks names no backend.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/error.h"
#include "inference/model/model.h"
#include "inference/model/weight_source.h"
#include "inference/tensor/config.h"
#include "inference/tensor/data_type.h"
#include "inference/tensor/kv_type.h"

namespace holdfast::model {

struct DeviceInfo {
    std::string product;               // "AMD EPYC 9654", "NVIDIA H200"
    std::string kernels;               // what LoadOptions::isa chooses: "vnni"
    bool has_integer_kernels = false;  // quantized weights are multiplied as integers
};

// Bytes that weights take on a device.
struct WeightBytes {
    std::size_t reserved = 0;  // memory, as it is reserved: in whole pages, vectors included
    std::size_t step = 0;      // of the matrices that a decode step reads: layers and head
    std::size_t exact = 0;     // of these and the embedding table
    bool quantized = false;    // some matrices of the layers are
};

// How fast a device is: the limits that a model's speed stands beside. One thread.
class Meter {
public:
    struct Peak {
        double operations_per_second = 0;  // a multiply-add is two
        std::string_view numbers;          // "float32"
    };

    virtual ~Meter() = default;
    // Bytes per second of one pass over memory that no cache holds, some hundredths of a second.
    // Errors: unavailable, when there is no memory for it.
    virtual base::Result<double> bandwidth() = 0;
    // Of the arithmetic; none where it cannot be measured.
    virtual std::optional<Peak> peak() = 0;
};

// Has no state that changes; any thread.
class Device {
public:
    virtual ~Device() = default;
    // As LoadOptions::device names it.
    virtual std::string name() const = 0;
    // Errors: invalid, when there is no such instruction set.
    virtual base::Result<DeviceInfo> info(const std::string& isa) const = 0;
    // What a service has where its settings leave these open.
    virtual Defaults defaults() const = 0;

    // Bytes of the device's memory. Of a model's three parts that make() will reserve: weights,
    // keys and values, and what a step works in (activations, logits).
    virtual std::size_t available_bytes() const = 0;
    virtual base::Result<WeightBytes> weight_bytes(
        const WeightSource& source, std::optional<tensor::DataType> converted) const = 0;
    virtual std::size_t cache_bytes(const tensor::Config& config, tensor::KvType type,
                                    std::uint32_t blocks) const = 0;
    virtual std::size_t working_bytes(const tensor::Config& config,
                                      const LoadOptions& options) const = 0;

    // The model has all its memory when this returns. Use load(), which checks the options first
    // and that they fit. Errors: unavailable, when the device lacks what the options want.
    virtual base::Result<std::unique_ptr<Model>> make(const WeightSource& source,
                                                      const LoadOptions& options) const = 0;
    // With the threads, placement and instruction set of the options.
    virtual base::Result<std::unique_ptr<Meter>> make_meter(const LoadOptions& options) const = 0;
};

std::unique_ptr<Device> processor();

// By the names of LoadOptions::device. Errors: invalid for any other; unavailable, with the reason,
// where there is no such device or nothing to drive it is built in.
[[nodiscard]] base::Result<std::unique_ptr<Device>> open_device(std::string_view name);

// The part of open_device() that needs CUDA. Defined in device_none.cpp where it is not built.
[[nodiscard]] base::Result<std::unique_ptr<Device>> open_cuda_device(std::string_view name);

// Checks options, and that model and options fit the device; then makes the model. `load` and
// `random_model` are this with a source of their own.
[[nodiscard]] base::Result<std::unique_ptr<Model>> make_model(const WeightSource& source,
                                                              const LoadOptions& options);

}  // namespace holdfast::model
