#include <fmt/ranges.h>

#include <functional>
#include <string>
#include <vector>

#include "inference/backend/cpu/memory.h"
#include "inference/model/decoder.h"
#include "inference/model/model.h"
#include "inference/model/random.h"
#include "inference/model/weights.h"
#include "inference/tensor/checkpoint.h"
#include "inference/tensor/config.h"

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
    if (options.native_numerics && !cpu::has_numerics(cpu::native_numerics()))
        return base::fail(Code::unavailable,
                          "numerics: this processor has no bf16 dot products for native numerics");
    return {};
}

// Bytes of the weights under these options.
using WeightBytes = std::function<base::Result<std::size_t>(const LoadOptions&)>;

bool fits(const tensor::Config& config, const LoadOptions& options, const WeightBytes& weights,
          std::size_t available) {
    const auto bytes = weights(options);
    return bytes && *bytes + Decoder::working_bytes(config, options) <= available;
}

// The single changes of options that would make the model fit.
std::string what_would_fit(const tensor::Config& config, const LoadOptions& options,
                           const WeightBytes& weights, std::size_t available) {
    std::vector<std::string> changes;
    LoadOptions other = options;
    other.kv_tokens = block_tokens;
    if (fits(config, other, weights, available)) {
        std::uint32_t fitting = 1, too_many = options.kv_tokens / block_tokens + 1;  // blocks
        while (fitting + 1 < too_many) {
            const std::uint32_t middle = fitting + (too_many - fitting) / 2;
            other.kv_tokens = middle * block_tokens;
            (fits(config, other, weights, available) ? fitting : too_many) = middle;
        }
        changes.push_back(fmt::format("at most {} kv_tokens", fitting * block_tokens));
    }
    for (const tensor::KvType type : tensor::all_kv_types) {
        other = options;
        other.kv_type = type;
        if (type > options.kv_type && fits(config, other, weights, available)) {
            changes.push_back(fmt::format("kv_type {}", tensor::name(type)));
            break;
        }
    }
    for (const tensor::DataType type :
         {tensor::DataType::bf16, tensor::DataType::q8_0, tensor::DataType::q4_0}) {
        other = options;
        other.weights = type;
        if (fits(config, other, weights, available)) {
            changes.push_back(fmt::format("weights {}", tensor::name(type)));
            break;
        }
    }
    if (changes.empty()) return "no other kv_tokens, kv_type or weights alone would fit";
    return fmt::format("would fit: {}", fmt::join(changes, ", or "));
}

// Better a clear refusal than to be killed half-way by the kernel.
base::Result<> check_memory(const tensor::Config& config, const LoadOptions& options,
                            const WeightBytes& weight_bytes) {
    HF_TRY_ASSIGN(const std::size_t weights, weight_bytes(options));
    const std::size_t work = Decoder::working_bytes(config, options);
    const std::size_t available = cpu::available_memory_bytes();
    if (weights + work <= available) return {};
    return base::fail(Code::unavailable,
                      "the model needs {} MiB of memory for weights and {} MiB for {} KV tokens "
                      "({}), batches of {} and logits; {} MiB are available; {}",
                      weights >> 20, work >> 20, options.kv_tokens, tensor::name(options.kv_type),
                      options.batch_tokens_max, available >> 20,
                      what_would_fit(config, options, weight_bytes, available));
}

// The thread that loads may go on to other things, and another one may compute.
base::Result<std::unique_ptr<Model>> finish(Weights weights, std::unique_ptr<cpu::Ops> ops,
                                            const LoadOptions& options) {
    cores::Pool& pool = ops->pool();
    HF_TRY_ASSIGN(auto model, Decoder::make(std::move(weights), std::move(ops), options));
    pool.release_caller();
    return model;
}

}  // namespace

base::Result<std::unique_ptr<Model>> load(const std::string& path, const LoadOptions& options) {
    HF_TRY(check(options));
    HF_TRY_ASSIGN(const tensor::Config config, tensor::read_config(path));
    HF_TRY_ASSIGN(const tensor::Checkpoint checkpoint, tensor::Checkpoint::open(path));
    HF_TRY(check_memory(config, options, [&](const LoadOptions& under) {
        return needed_weight_bytes(checkpoint, config, under);
    }));
    HF_TRY_ASSIGN(auto ops, Decoder::make_ops(config, options));
    HF_TRY_ASSIGN(Weights weights, load_weights(checkpoint, config, options, ops->pool()));
    return finish(std::move(weights), std::move(ops), options);
}

base::Result<std::unique_ptr<Model>> random_model(const tensor::Config& config,
                                                  tensor::DataType weights_type,
                                                  const LoadOptions& options) {
    HF_TRY(check(options));
    HF_TRY(
        check_memory(config, options, [&](const LoadOptions& under) -> base::Result<std::size_t> {
            return random_weight_bytes(config, under.weights.value_or(weights_type));
        }));
    HF_TRY_ASSIGN(auto ops, Decoder::make_ops(config, options));
    HF_TRY_ASSIGN(Weights weights, random_weights(config, weights_type, options, ops->pool()));
    return finish(std::move(weights), std::move(ops), options);
}

}  // namespace holdfast::model
