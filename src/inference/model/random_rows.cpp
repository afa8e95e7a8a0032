#include "inference/model/random_rows.h"

#include <cmath>

#include "inference/tensor/quantize.h"

namespace holdfast::model {
namespace {

using tensor::DataType;

constexpr std::size_t run_elements = std::size_t{1} << 20;  // where rows may begin

// The finalizer of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
// generators", 2014).
std::uint64_t mix(std::uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
}

}  // namespace

void RandomRows::make_run() const {
    const float step = std::sqrt(12.0F * variance_) / 65'536;
    std::vector<float> values(run_elements + inputs_);
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<float>(static_cast<std::int16_t>(mix(i))) * step;
    run_.resize(tensor::bytes_of(type_, values.size()));
    tensor::quantize(type_, values, run_.data());
}

tensor::SourceRow RandomRows::row(std::uint32_t matrix, std::uint32_t output) const {
    std::call_once(made_, [this] { make_run(); });
    const std::size_t blocks = run_elements / tensor::traits(type_).block_elements;
    const std::size_t first = mix(std::uint64_t{matrix} << 32 | output) % blocks;
    return {type_, run_.data() + first * tensor::traits(type_).block_bytes};
}

base::Result<> check_blocks(const tensor::Config& config, DataType type) {
    const std::uint32_t block = tensor::traits(type).block_elements;
    for (const std::uint32_t inputs : {config.hidden, config.heads * config.head_dim, config.ffn})
        if (inputs % block != 0)
            return base::fail(base::Code::invalid,
                              "weights: {} needs rows of a multiple of {}, the shape has {}",
                              tensor::name(type), block, inputs);
    return {};
}

}  // namespace holdfast::model
