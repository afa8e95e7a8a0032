#include "inference/tensor/source_row.h"

#include <cstring>

#include "inference/tensor/quantize.h"

namespace holdfast::tensor {

void write_row(const SourceRow& row, DataType type, std::span<float> numbers, std::byte* to) {
    if (row.type == type) {
        std::memcpy(to, row.bytes, bytes_of(type, numbers.size()));
        return;
    }
    dequantize(row.type, row.bytes, numbers);
    quantize(type, numbers, to);
}

}  // namespace holdfast::tensor
