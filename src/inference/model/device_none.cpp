// Where Holdfast is built without CUDA.
#include "inference/model/device.h"

namespace holdfast::model {

base::Result<std::unique_ptr<Device>> open_cuda_device(std::string_view name) {
    return base::fail(base::Code::unavailable, "device {}: built without CUDA", name.substr(0, 60));
}

}  // namespace holdfast::model
