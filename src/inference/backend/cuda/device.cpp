#include "inference/backend/cuda/device.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <span>

#include "inference/backend/cuda/call.h"

namespace holdfast::cuda {
namespace {

std::string uuid_text(const cudaUUID_t& uuid) {
    std::string text = "GPU";
    for (std::size_t i = 0; i < sizeof(uuid.bytes); ++i) {
        if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += fmt::format("{:02x}", static_cast<unsigned char>(uuid.bytes[i]));
    }
    return text;
}

base::Result<DeviceInfo> describe(int number) {
    cudaDeviceProp found{};
    HF_TRY(succeeded(cudaGetDeviceProperties(&found, number), "reading a device's properties"));
    return DeviceInfo{.number = static_cast<std::uint32_t>(number),
                      .name = found.name,
                      .uuid = uuid_text(found.uuid),
                      .major = static_cast<std::uint32_t>(found.major),
                      .minor = static_cast<std::uint32_t>(found.minor),
                      .multiprocessors = static_cast<std::uint32_t>(found.multiProcessorCount),
                      .memory_bytes = found.totalGlobalMem,
                      .shared_memory_bytes = found.sharedMemPerBlockOptin};
}

}  // namespace

base::Result<> succeeded(int status, std::string_view what) {
    if (status == cudaSuccess) return {};
    const auto error = static_cast<cudaError_t>(status);
    const auto code = error == cudaErrorMemoryAllocation ? base::Code::overloaded
                      : error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver
                          ? base::Code::unavailable
                          : base::Code::internal;
    return base::fail(code, "CUDA: {}: {} ({})", what, cudaGetErrorString(error),
                      cudaGetErrorName(error));
}

base::Result<> finished(std::string_view what) {
    return succeeded(cudaStreamSynchronize(nullptr), what);
}

base::Result<> launched(std::string_view what) { return succeeded(cudaGetLastError(), what); }

base::Result<std::vector<DeviceInfo>> devices() {
    int count = 0;
    const cudaError_t counted = cudaGetDeviceCount(&count);
    if (counted == cudaErrorInsufficientDriver || counted == cudaErrorNoDevice || count == 0)
        return base::fail(base::Code::unavailable, "no CUDA device: {}",
                          cudaGetErrorString(counted));
    HF_TRY(succeeded(counted, "counting devices"));
    std::vector<DeviceInfo> all;
    for (int number = 0; number < count; ++number) {
        HF_TRY_ASSIGN(DeviceInfo one, describe(number));
        all.push_back(std::move(one));
    }
    return all;
}

base::Result<DeviceInfo> open_device(std::uint32_t number) {
    HF_TRY_ASSIGN(const std::vector<DeviceInfo> all, devices());
    if (number >= all.size())
        return base::fail(base::Code::invalid, "there is no cuda:{}; there are cuda:0 to cuda:{}",
                          number, all.size() - 1);
    const DeviceInfo& chosen = all[number];
    if (chosen.major < 8)
        return base::fail(base::Code::invalid,
                          "cuda:{} ({}) has compute capability {}.{}; needed is 8.0 or later",
                          number, chosen.name, chosen.major, chosen.minor);
    HF_TRY(succeeded(cudaSetDevice(static_cast<int>(number)), "choosing a device"));
    return chosen;
}

}  // namespace holdfast::cuda
