#include "tools/perf/work.h"

#include "inference/model/model.h"
#include "inference/model/random.h"

namespace holdfast::perf {
namespace {

std::uint64_t attended(const tensor::Config& config) {
    return std::uint64_t{config.heads} * config.head_dim;
}

std::uint64_t kept(const tensor::Config& config) {
    return std::uint64_t{config.kv_heads} * config.head_dim;
}

// Of the matrices of one layer.
std::uint64_t layer_matrix_parameters(const tensor::Config& config) {
    return config.hidden *
           (2 * attended(config) + 2 * kept(config) + 3 * std::uint64_t{config.ffn});
}

std::uint64_t head_parameters(const tensor::Config& config) {
    return std::uint64_t{config.vocab} * config.hidden;
}

}  // namespace

std::uint64_t parameters(const tensor::Config& config) {
    const std::uint64_t biases = config.qkv_bias ? attended(config) + 2 * kept(config) : 0;
    const std::uint64_t layer = layer_matrix_parameters(config) + biases + 2ULL * config.hidden;
    return config.layers * layer + config.hidden + head_parameters(config) +
           (config.tied_head ? 0 : head_parameters(config));
}

base::Result<model::WeightBytes> weight_bytes(const model::Device& device,
                                              const tensor::Config& config, tensor::DataType type) {
    return device.weight_bytes(*model::random_weights(config, type), std::nullopt);
}

double kv_bytes_per_token(const model::Device& device, const tensor::Config& config,
                          tensor::KvType type) {
    constexpr std::uint32_t blocks = 1U << 20;  // so many that what is rounded up does not count
    return static_cast<double>(device.cache_bytes(config, type, blocks)) /
           (double{blocks} * model::block_tokens);
}

double token_operations(const tensor::Config& config, double position, bool with_head) {
    const std::uint64_t matrices =
        config.layers * layer_matrix_parameters(config) + (with_head ? head_parameters(config) : 0);
    const auto attention = static_cast<double>(4ULL * config.layers * attended(config));
    return 2 * static_cast<double>(matrices) + attention * (position + 1);
}

}  // namespace holdfast::perf
