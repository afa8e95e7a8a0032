#include "inference/backend/cuda/device.h"

namespace holdfast::cuda {

base::Result<std::vector<DeviceInfo>> devices() {
    return base::fail(base::Code::unavailable,
                      "built without CUDA: scripts/setup cuda, then make build");
}

base::Result<DeviceInfo> open_device(std::uint32_t) { return std::unexpected(devices().error()); }

}  // namespace holdfast::cuda
