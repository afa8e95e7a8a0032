#include "inference/model/inspector.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/base/hash.h"
#include "inference/tensor/file_map.h"
#include "inference/tensor/quantize.h"

namespace holdfast::model {
namespace {

using base::Code;
using tensor::DataType;

// Parts of a tensor that all threads check together: 32 MiB, so that a file is read from its
// beginning to its end and not at as many places as there are threads.
constexpr std::uint32_t parts_together = 128;

// One call instead of a fault for every few pages. Where it fails, the faults come.
void map_pages(std::span<const std::byte> bytes) {
#ifdef MADV_POPULATE_READ
    tensor::advise(bytes, MADV_POPULATE_READ);
#endif
}

// The first of those found in each part, if any.
std::optional<std::size_t> first_of(const std::vector<std::optional<std::size_t>>& elements) {
    for (const auto& element : elements)
        if (element) return element;
    return std::nullopt;
}

}  // namespace

base::Result<> Inspector::read(const tensor::Tensor& tensor) {
    HF_TRY(check_and_hash(tensor));
    return tensor.shape.size() == 2 ? check_range(tensor) : base::Result<>();
}

// All threads read the file, each in parts of its own.
base::Result<> Inspector::check_and_hash(const tensor::Tensor& tensor) {
    const TensorParts parts(tensor.type, tensor.bytes);
    std::vector<base::Hash128> hashes(parts.count());
    std::vector<std::optional<std::size_t>> bad(parts.count());
    for (std::uint32_t first = 0; first < parts.count(); first += parts_together) {
        const std::uint32_t count = std::min(parts_together, parts.count() - first);
        const std::size_t bytes = parts.bytes(first, count).size();
        pool_.run(count, bytes, [&](std::uint32_t task) {
            const std::uint32_t part = first + task;
            const auto own = parts.bytes(part, 1);
            map_pages(own);
            hashes[part] = base::hash128(own);
            const std::size_t elements = parts.elements(part);
            const std::size_t at = tensor::find_not_finite(tensor.type, own.data(), elements);
            if (at != elements) bad[part] = parts.first_element(part) + at;
        });
        read_ahead_.used(bytes);
    }
    if (const auto element = first_of(bad))
        return base::fail(Code::corrupt, "{}: tensor \"{}\": element {} is not a finite number",
                          tensor.file, tensor.name, *element);
    fingerprint_.add(tensor.name, tensor.type, tensor.bytes.size(), hashes);
    return {};
}

// The types to convert to have numbers or scales in 16 bits, which end at 65504.
base::Result<> Inspector::check_range(const tensor::Tensor& tensor) {
    constexpr float largest = 65'504.0F;
    const bool narrows =
        converted_ && *converted_ != DataType::f32 && *converted_ != DataType::bf16;
    if (!narrows || tensor.type == *converted_ || tensor.type == DataType::f16) return {};
    const TensorParts parts(tensor.type, tensor.bytes);
    std::vector<std::optional<std::size_t>> bad(parts.count());
    pool_.run(parts.count(), tensor.bytes.size(), [&](std::uint32_t part) {
        std::vector<float> values(parts.elements(part));
        tensor::dequantize(tensor.type, parts.bytes(part, 1).data(), values);
        const auto found =
            std::ranges::find_if(values, [](float value) { return std::abs(value) > largest; });
        if (found != values.end())
            bad[part] =
                parts.first_element(part) + static_cast<std::size_t>(found - values.begin());
    });
    if (const auto element = first_of(bad))
        return base::fail(Code::invalid,
                          "{}: tensor \"{}\": element {} is too large for weights of {}",
                          tensor.file, tensor.name, *element, tensor::name(*converted_));
    return {};
}

}  // namespace holdfast::model
