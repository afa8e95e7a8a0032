#include <fmt/ranges.h>

#include <string>
#include <vector>

#include "inference/backend/cpu/memory.h"
#include "inference/model/decoder.h"
#include "inference/model/model.h"
#include "inference/model/random.h"
#include "inference/model/weight_source.h"
#include "inference/model/weights.h"

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

base::Result<std::size_t> weight_bytes(const WeightSource& source, const LoadOptions& options) {
    WeightCounter counter;
    HF_TRY(source.list(options.weights, counter));
    return counter.bytes().reserved;
}

bool fits(const WeightSource& source, const LoadOptions& options, std::size_t available) {
    const auto weights = weight_bytes(source, options);
    return weights && *weights + Decoder::working_bytes(source.config(), options) <= available;
}

// The single changes of options that would make the model fit.
std::string what_would_fit(const WeightSource& source, const LoadOptions& options,
                           std::size_t available) {
    std::vector<std::string> changes;
    LoadOptions other = options;
    other.kv_tokens = block_tokens;
    if (fits(source, other, available)) {
        std::uint32_t fitting = 1, too_many = options.kv_tokens / block_tokens + 1;  // blocks
        while (fitting + 1 < too_many) {
            const std::uint32_t middle = fitting + (too_many - fitting) / 2;
            other.kv_tokens = middle * block_tokens;
            (fits(source, other, available) ? fitting : too_many) = middle;
        }
        changes.push_back(fmt::format("at most {} kv_tokens", fitting * block_tokens));
    }
    for (const tensor::KvType type : tensor::all_kv_types) {
        other = options;
        other.kv_type = type;
        if (type > options.kv_type && fits(source, other, available)) {
            changes.push_back(fmt::format("kv_type {}", tensor::name(type)));
            break;
        }
    }
    for (const tensor::DataType type :
         {tensor::DataType::bf16, tensor::DataType::q8_0, tensor::DataType::q4_0}) {
        other = options;
        other.weights = type;
        if (fits(source, other, available)) {
            changes.push_back(fmt::format("weights {}", tensor::name(type)));
            break;
        }
    }
    if (changes.empty()) return "no other kv_tokens, kv_type or weights alone would fit";
    return fmt::format("would fit: {}", fmt::join(changes, ", or "));
}

// Better a clear refusal than to be killed half-way by the kernel.
base::Result<> check_memory(const WeightSource& source, const LoadOptions& options) {
    HF_TRY_ASSIGN(const std::size_t weights, weight_bytes(source, options));
    const std::size_t work = Decoder::working_bytes(source.config(), options);
    const std::size_t available = cpu::available_memory_bytes();
    if (weights + work <= available) return {};
    return base::fail(Code::unavailable,
                      "the model needs {} MiB of memory for weights and {} MiB for {} KV tokens "
                      "({}), batches of {} and logits; {} MiB are available; {}",
                      weights >> 20, work >> 20, options.kv_tokens, tensor::name(options.kv_type),
                      options.batch_tokens_max, available >> 20,
                      what_would_fit(source, options, available));
}

base::Result<std::unique_ptr<Model>> make(const WeightSource& source, const LoadOptions& options) {
    HF_TRY(check(options));
    HF_TRY(check_memory(source, options));
    HF_TRY_ASSIGN(auto ops, Decoder::make_ops(source.config(), options));
    const auto numerics =
        options.native_numerics ? cpu::native_numerics() : cpu::Numerics::portable;
    cores::Pool& pool = ops->pool();
    WeightPacker packer(source.config(), numerics, pool);
    HF_TRY_ASSIGN(const Given given,
                  source.give(options.weights, packer, pool, options.on_progress));
    Weights weights = packer.take();
    weights.fingerprint =
        given.fingerprint.text({cpu::name(numerics), given.layers_type, options.kv_type});
    HF_TRY_ASSIGN(auto model, Decoder::make(std::move(weights), std::move(ops), options));
    // The thread that loads may go on to other things, and another one may compute.
    pool.release_caller();
    return model;
}

}  // namespace

base::Result<std::unique_ptr<Model>> load(const std::string& path, const LoadOptions& options) {
    HF_TRY(check(options));
    HF_TRY_ASSIGN(const auto source, open_weights(path));
    return make(*source, options);
}

base::Result<std::unique_ptr<Model>> random_model(const tensor::Config& config,
                                                  tensor::DataType weights,
                                                  const LoadOptions& options) {
    LoadOptions own = options;
    own.weights.reset();
    return make(*random_weights(config, weights), own);
}

}  // namespace holdfast::model
