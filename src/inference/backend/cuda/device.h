// Finding and opening CUDA devices. Plain C++: whoever includes this needs no CUDA. Where Holdfast
// is built without CUDA, device_none.cpp says so instead.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/base/error.h"

namespace holdfast::cuda {

struct DeviceInfo {
    std::uint32_t number = 0;  // as in "cuda:0", among the devices that this process may see
    std::string name;
    std::string uuid;  // "GPU-..." as nvidia-smi prints it
    std::uint32_t major = 0, minor = 0;
    std::uint32_t multiprocessors = 0;
    std::size_t memory_bytes = 0;
    std::size_t shared_memory_bytes = 0;  // that one block may use
};

// All of them; unavailable if there are none, with the reason: no driver, no card, no CUDA built
// in.
base::Result<std::vector<DeviceInfo>> devices();

// Makes device `number` the one that this thread's calls go to. Its profile must be known: compute
// capability 8.0 or later.
base::Result<DeviceInfo> open_device(std::uint32_t number);

}  // namespace holdfast::cuda
