// Feeds arbitrary bytes to the safetensors reader. What it accepts must cover the data exactly.
#include <cstddef>
#include <cstdint>
#include <span>

#include "common/base/assert.h"
#include "inference/tensor/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace holdfast::tensor;
    const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
    const auto tensors = parse_safetensors(bytes, "fuzz");
    if (!tensors) return 0;
    std::size_t total = 0;
    for (const Tensor& tensor : *tensors) {
        total += tensor.bytes.size();
        if (tensor.bytes.empty()) continue;
        HF_ASSERT(tensor.bytes.data() >= bytes.data());
        HF_ASSERT(tensor.bytes.data() + tensor.bytes.size() <= bytes.data() + size);
    }
    HF_ASSERT(total <= size);
    return 0;
}
