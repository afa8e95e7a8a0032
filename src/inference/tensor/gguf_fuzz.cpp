// Feeds arbitrary bytes to the GGUF reader. What it accepts must lie inside the file, and every
// question about the metadata must have an answer.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/base/assert.h"
#include "inference/tensor/gguf.h"
#include "inference/tensor/gguf_names.h"
#include "inference/tensor/quantize.h"

namespace holdfast::tensor {
namespace {

// A key that is there has a value of some kind or an error, but is never absent.
void ask_everything(const Gguf& file, std::string_view key) {
    const auto is_answered = [](const auto& result) { return !result || result->has_value(); };
    HF_ASSERT(is_answered(file.integer(key)));
    HF_ASSERT(is_answered(file.number(key)));
    HF_ASSERT(is_answered(file.flag(key)));
    HF_ASSERT(is_answered(file.text(key)));
    HF_ASSERT(is_answered(file.texts(key)));
    HF_ASSERT(is_answered(file.integers(key)));
    HF_ASSERT(is_answered(file.numbers(key)));
}

void read_numbers(const Tensor& tensor, std::span<const std::byte> file) {
    if (!tensor.bytes.empty()) {
        HF_ASSERT(tensor.bytes.data() >= file.data());
        HF_ASSERT(tensor.bytes.data() + tensor.bytes.size() <= file.data() + file.size());
    }
    if (const auto name = hugging_face_name(tensor.name))
        HF_ASSERT(gguf_name(*name) == tensor.name);
    if (tensor.type == DataType::other) return;
    const DataTypeTraits block = traits(tensor.type);
    const std::size_t count = tensor.bytes.size() / block.block_bytes * block.block_elements;
    std::vector<float> values(count);
    dequantize(tensor.type, tensor.bytes.data(), values);
    HF_ASSERT(find_not_finite(tensor.type, tensor.bytes.data(), count) <= count);
}

}  // namespace
}  // namespace holdfast::tensor

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace holdfast::tensor;
    const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
    const auto file = Gguf::parse(bytes, "fuzz");
    if (!file) return 0;
    for (const GgufEntry& entry : file->entries()) ask_everything(*file, entry.key);
    for (const Tensor& tensor : file->tensors()) read_numbers(tensor, bytes);
    return 0;
}
