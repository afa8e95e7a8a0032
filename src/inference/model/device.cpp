#include "inference/model/device.h"

namespace holdfast::model {

base::Result<std::unique_ptr<Device>> open_device(std::string_view name) {
    if (name == "cpu") return processor();
    for (const std::string_view prefix : {"cuda:", "GPU-", "MIG-"})
        if (name.starts_with(prefix)) return open_cuda_device(name);
    return base::fail(base::Code::invalid,
                      "device: \"{}\" is none of cpu, cuda:N and the id of a GPU (GPU-..., "
                      "MIG-...)",
                      name.substr(0, 60));
}

}  // namespace holdfast::model
