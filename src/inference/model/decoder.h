// The decoders of the Qwen2 and Llama families on the CPU: Qwen2.5 (technical report: arXiv
// 2412.15115), Llama 3 (arXiv 2407.21783) and the DeepSeek-R1 distills of both. They differ in
// biases and rotary frequencies alone; the arithmetic follows transformers' Qwen2ForCausalLM and
// LlamaForCausalLM in float32.
#pragma once

#include <memory>
#include <vector>

#include "inference/backend/cpu/kv_cache.h"
#include "inference/backend/cpu/ops.h"
#include "inference/backend/cpu/rotary.h"
#include "inference/model/model.h"
#include "inference/model/weights.h"

namespace holdfast::model {

class Decoder final : public Model {
public:
    // Reserves and touches everything that forward() needs. Takes `ops` made for at least
    // options.batch_tokens_max rows.
    [[nodiscard]] static base::Result<std::unique_ptr<Model>> make(Weights weights,
                                                                   std::unique_ptr<cpu::Ops> ops,
                                                                   const LoadOptions& options);
    // Ops that fit.
    [[nodiscard]] static base::Result<std::unique_ptr<cpu::Ops>> make_ops(
        const tensor::Config& config, const LoadOptions& options);
    // Bytes that make() and make_ops() reserve: for keys and values, and for all else.
    static std::size_t cache_bytes(const tensor::Config& config, tensor::KvType type,
                                   std::uint32_t blocks);
    static std::size_t working_bytes(const tensor::Config& config, const LoadOptions& options);

    const Shape& shape() const override { return shape_; }
    const std::string& fingerprint() const override { return weights_.fingerprint; }
    std::uint32_t blocks() const override { return blocks_; }
    std::uint32_t batch_tokens_max() const override { return batch_tokens_max_; }
    std::span<const float> forward(std::span<const Slice> slices) override;
    std::uint64_t progress() const override { return ops_->pool().progress(); }
    std::uint32_t threads() const override { return ops_->pool().threads(); }
    void run(std::uint32_t tasks, std::uint64_t operations,
             const std::function<void(std::uint32_t task)>& body) override {
        ops_->pool().run(tasks, operations, body);
    }

private:
    // A token of this forward.
    struct Row {
        std::uint32_t token = 0, position = 0;
        BlockId block = 0;  // that keeps its key and value
    };

    Decoder(Weights weights, std::unique_ptr<cpu::Ops> ops, const LoadOptions& options);
    void place_scratch();
    std::uint32_t query_columns() const { return shape_.heads * shape_.head_dim; }
    std::uint32_t key_columns() const { return shape_.kv_heads * shape_.head_dim; }

    void list_rows(std::span<const Slice> slices);
    void embed();
    void project(const Layer& layer);
    void rotate_and_keep(std::uint32_t layer);
    void attend(std::uint32_t layer);
    std::uint32_t gather_logit_rows(std::span<const Slice> slices);

    Weights weights_;
    std::unique_ptr<cpu::Ops> ops_;
    Shape shape_;
    cpu::Rotary rotary_;
    std::uint32_t blocks_, batch_tokens_max_;

    cpu::KvCache kept_;
    cpu::Floats activations_, logits_;
    cpu::Rows hidden_, normed_, qkv_, attended_, gated_, angles_;  // in activations_
    std::vector<Row> rows_;                                        // capacity batch_tokens_max
    std::vector<cpu::Ops::AttentionPart> parts_;
    std::vector<cpu::Ops::AttentionTask> tasks_;
};

}  // namespace holdfast::model
