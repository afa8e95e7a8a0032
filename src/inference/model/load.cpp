#include <fmt/ranges.h>

#include <string>
#include <vector>

#include "inference/model/device.h"
#include "inference/model/model.h"
#include "inference/model/random.h"
#include "inference/model/weight_source.h"

namespace holdfast::model {
namespace {

using base::Code;

constexpr std::uint32_t kv_tokens_max = 1U << 27;
constexpr std::uint32_t batch_tokens_limit = 1U << 16;

base::Result<> check(const LoadOptions& options) {
    if (options.kv_tokens == 0 || options.kv_tokens > kv_tokens_max)
        return base::fail(Code::invalid, "kv_tokens: {} is not in [1, {}]", options.kv_tokens,
                          kv_tokens_max);
    if (options.batch_tokens_max == 0 || options.batch_tokens_max > batch_tokens_limit)
        return base::fail(Code::invalid, "batch_tokens_max: {} is not in [1, {}]",
                          options.batch_tokens_max, batch_tokens_limit);
    return {};
}

// Whether a model fits a device: better a clear refusal than to be killed half-way by the kernel.
class Fit {
public:
    Fit(const Device& device, const WeightSource& source)
        : device_(device), source_(source), available_(device.available_bytes()) {}

    base::Result<> check(const LoadOptions& options) const {
        HF_TRY_ASSIGN(const WeightBytes weights, device_.weight_bytes(source_, options.weights));
        const std::size_t work = bytes_beside_weights(options);
        if (weights.reserved + work <= available_) return {};
        return base::fail(
            Code::unavailable,
            "the model needs {} MiB of memory for weights and {} MiB for {} KV tokens ({}), "
            "batches of {} and logits; {} MiB are available; {}",
            weights.reserved >> 20, work >> 20, options.kv_tokens, tensor::name(options.kv_type),
            options.batch_tokens_max, available_ >> 20, what_would(options));
    }

private:
    std::size_t bytes_beside_weights(const LoadOptions& options) const {
        return device_.cache_bytes(source_.config(), options.kv_type, blocks_for(options)) +
               device_.working_bytes(source_.config(), options);
    }

    bool fits(const LoadOptions& options) const {
        const auto weights = device_.weight_bytes(source_, options.weights);
        return weights && weights->reserved + bytes_beside_weights(options) <= available_;
    }

    // The single changes of options that would make the model fit.
    std::string what_would(const LoadOptions& options) const {
        std::vector<std::string> changes;
        LoadOptions other = options;
        other.kv_tokens = block_tokens;
        if (fits(other)) {
            std::uint32_t fitting = 1, too_many = options.kv_tokens / block_tokens + 1;  // blocks
            while (fitting + 1 < too_many) {
                const std::uint32_t middle = fitting + (too_many - fitting) / 2;
                other.kv_tokens = middle * block_tokens;
                (fits(other) ? fitting : too_many) = middle;
            }
            changes.push_back(fmt::format("at most {} kv_tokens", fitting * block_tokens));
        }
        for (const tensor::KvType type : tensor::all_kv_types) {
            other = options;
            other.kv_type = type;
            if (type > options.kv_type && fits(other)) {
                changes.push_back(fmt::format("kv_type {}", tensor::name(type)));
                break;
            }
        }
        for (const tensor::DataType type :
             {tensor::DataType::bf16, tensor::DataType::q8_0, tensor::DataType::q4_0}) {
            other = options;
            other.weights = type;
            if (fits(other)) {
                changes.push_back(fmt::format("weights {}", tensor::name(type)));
                break;
            }
        }
        if (changes.empty()) return "no other kv_tokens, kv_type or weights alone would fit";
        return fmt::format("would fit: {}", fmt::join(changes, ", or "));
    }

    const Device& device_;
    const WeightSource& source_;
    std::size_t available_;
};

}  // namespace

std::uint32_t blocks_for(const LoadOptions& options) {
    return (options.kv_tokens + block_tokens - 1) / block_tokens;
}

base::Result<std::unique_ptr<Model>> make_model(const WeightSource& source,
                                                const LoadOptions& options) {
    HF_TRY(check(options));
    HF_TRY_ASSIGN(const auto device, open_device(options.device));
    HF_TRY(Fit(*device, source).check(options));
    return device->make(source, options);
}

base::Result<std::unique_ptr<Model>> load(const std::string& path, const LoadOptions& options) {
    HF_TRY(check(options));
    HF_TRY_ASSIGN(const auto source, open_weights(path));
    return make_model(*source, options);
}

base::Result<std::unique_ptr<Model>> random_model(const tensor::Config& config,
                                                  tensor::DataType weights,
                                                  const LoadOptions& options) {
    LoadOptions own = options;
    own.weights.reset();
    return make_model(*random_weights(config, weights), own);
}

}  // namespace holdfast::model
