// The safetensors format: 8 bytes little-endian header length, a JSON header that maps names to
// {dtype, shape, data_offsets}, then the tensors' bytes without gaps.
// https://github.com/huggingface/safetensors#format
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "inference/tensor/data_type.h"

namespace holdfast::tensor {

inline constexpr std::size_t header_bytes_max = 100'000'000;  // the format's own limit

struct Tensor {
    std::string file;  // where it comes from, for errors
    std::string name;
    DataType type = DataType::other;
    std::string type_name;             // as the file writes it, such as "BF16"
    std::vector<std::uint64_t> shape;  // outermost first, every dimension at least 1
    std::span<const std::byte> bytes;  // row-major, little-endian, into the file
};

// Parses and checks a whole file. `file` names it in errors. Refused as invalid, with the field
// or offset and the reason: anything that is not exactly the format above, including overlapping
// tensors, gaps, sizes that do not agree with shapes, and names that occur twice.
// The result is sorted by name and refers to `bytes`.
[[nodiscard]] base::Result<std::vector<Tensor>> parse_safetensors(std::span<const std::byte> bytes,
                                                                  const std::string& file);

}  // namespace holdfast::tensor
