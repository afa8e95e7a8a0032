
#include "backend/cpu/memory.h"
#include "model/decoder.h"
#include "model/model.h"
#include "model/random.h"
#include "model/weights.h"
#include "tensor/checkpoint.h"
#include "tensor/config.h"

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

// Better a clear refusal than to be killed half-way by the kernel.
base::Result<> check_memory(const tensor::Config& config, tensor::DataType type,
                            const LoadOptions& options) {
    const std::size_t weights = weight_bytes(config, type);
    const std::size_t work = Decoder::working_bytes(config, options);
    const std::size_t available = cpu::available_memory_bytes();
    if (weights + work <= available) return {};
    return base::fail(Code::unavailable,
                      "the model needs {} MiB of memory for weights and {} MiB for {} KV tokens, "
                      "batches of {} and logits; {} MiB are available",
                      weights >> 20, work >> 20, options.kv_tokens, options.batch_tokens_max,
                      available >> 20);
}

}  // namespace

base::Result<std::unique_ptr<Model>> load(const std::string& folder, const LoadOptions& options) {
    HF_TRY(check(options));
    HF_TRY_ASSIGN(const tensor::Config config, tensor::read_config(folder));
    HF_TRY_ASSIGN(const tensor::Checkpoint checkpoint, tensor::Checkpoint::open(folder));
    HF_TRY_ASSIGN(const tensor::Tensor* const first,
                  checkpoint.get("model.embed_tokens.weight", {config.vocab, config.hidden}));
    HF_TRY(check_memory(config, first->type, options));
    HF_TRY_ASSIGN(auto ops, Decoder::make_ops(config, options));
    HF_TRY_ASSIGN(Weights weights,
                  load_weights(checkpoint, config, ops->pool(), options.on_progress));
    return Decoder::make(std::move(weights), std::move(ops), options);
}

base::Result<std::unique_ptr<Model>> random_model(const tensor::Config& config,
                                                  tensor::DataType weights_type,
                                                  const LoadOptions& options) {
    HF_TRY(check(options));
    HF_TRY(check_memory(config, weights_type, options));
    HF_TRY_ASSIGN(auto ops, Decoder::make_ops(config, options));
    HF_TRY_ASSIGN(Weights weights, random_weights(config, weights_type, ops->pool()));
    return Decoder::make(std::move(weights), std::move(ops), options);
}

}  // namespace holdfast::model
