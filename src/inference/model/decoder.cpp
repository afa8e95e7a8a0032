#include "inference/model/decoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "common/base/assert.h"
#include "inference/tensor/quantize.h"

namespace holdfast::model {
namespace {

std::uint32_t widest_input(const tensor::Config& config) {
    return std::max({config.hidden, config.ffn, config.heads * config.head_dim});
}

cpu::KvShape kept_shape(const tensor::Config& config, tensor::KvType type, std::uint32_t blocks) {
    return {type, config.layers, blocks, config.kv_heads, config.head_dim};
}

// Columns of hidden, normed, qkv, attended, gated and angles.
std::array<std::uint32_t, 6> activation_columns(const tensor::Config& config) {
    const std::uint32_t attended = config.heads * config.head_dim;
    return {config.hidden, config.hidden, attended + 2 * config.kv_heads * config.head_dim,
            attended,      config.ffn,    config.head_dim};
}

std::size_t activation_floats(const tensor::Config& config, const LoadOptions& options) {
    std::size_t floats = 0;
    for (const std::uint32_t columns : activation_columns(config))
        floats += cpu::row_stride(columns) * options.batch_tokens_max;
    return floats;
}

Shape shape_of(const tensor::Config& config) {
    return {config.architecture, config.layers, config.hidden, config.heads,   config.kv_heads,
            config.head_dim,     config.ffn,    config.vocab,  config.context, config.eos};
}

cpu::Rotary rotary_of(const tensor::Config& config) {
    cpu::Rotary rotary(config.rope_theta, config.head_dim);
    if (config.rope_scaling) rotary.stretch(*config.rope_scaling);
    if (!config.rope_divisors.empty()) rotary.divide(config.rope_divisors);
    return rotary;
}

}  // namespace

base::Result<std::unique_ptr<cpu::Ops>> Decoder::make_ops(const tensor::Config& config,
                                                          const LoadOptions& options) {
    HF_TRY_ASSIGN(const cpu::Isa isa, cpu::choose_isa(options.isa));
    return cpu::Ops::make(isa, options.threads, options.batch_tokens_max, widest_input(config),
                          options.placement);
}

std::size_t Decoder::cache_bytes(const tensor::Config& config, tensor::KvType type,
                                 std::uint32_t blocks) {
    return cpu::Memory::backed_bytes(cpu::KvCache::needed_bytes(kept_shape(config, type, blocks)));
}

std::size_t Decoder::working_bytes(const tensor::Config& config, const LoadOptions& options) {
    const std::size_t rows = options.batch_tokens_max;
    const auto floats = [](std::size_t count) {
        return cpu::Memory::backed_bytes(count * sizeof(float));
    };
    return floats(activation_floats(config, options)) + floats(rows * config.vocab) +
           floats(rows * widest_input(config));
}

Decoder::Decoder(Weights weights, std::unique_ptr<cpu::Ops> ops, const LoadOptions& options)
    : weights_(std::move(weights)),
      ops_(std::move(ops)),
      shape_(shape_of(weights_.config)),
      rotary_(rotary_of(weights_.config)),
      blocks_(blocks_for(options)),
      batch_tokens_max_(options.batch_tokens_max) {}

base::Result<std::unique_ptr<Model>> Decoder::make(Weights weights, std::unique_ptr<cpu::Ops> ops,
                                                   const LoadOptions& options) {
    std::unique_ptr<Decoder> model(new Decoder(std::move(weights), std::move(ops), options));
    cores::Pool* const pool = &model->ops_->pool();
    HF_TRY_ASSIGN(model->kept_,
                  cpu::KvCache::reserve(
                      kept_shape(model->weights_.config, options.kv_type, model->blocks_), pool));
    HF_TRY_ASSIGN(model->activations_,
                  cpu::Floats::reserve(activation_floats(model->weights_.config, options),
                                       "activations", pool));
    HF_TRY_ASSIGN(model->logits_,
                  cpu::Floats::reserve(std::size_t{options.batch_tokens_max} * model->shape_.vocab,
                                       "logits", pool));
    model->place_scratch();
    return model;
}

void Decoder::place_scratch() {
    float* at = activations_.data();
    const auto columns = activation_columns(weights_.config);
    cpu::Rows* const places[] = {&hidden_, &normed_, &qkv_, &attended_, &gated_, &angles_};
    for (std::size_t i = 0; i < columns.size(); ++i) {
        *places[i] = {at, cpu::row_stride(columns[i])};
        at += places[i]->stride * batch_tokens_max_;
    }
    rows_.reserve(batch_tokens_max_);
    parts_.reserve(batch_tokens_max_);
    tasks_.resize(std::size_t{batch_tokens_max_} * shape_.heads);
}

std::span<const float> Decoder::forward(std::span<const Slice> slices) {
    list_rows(slices);
    embed();
    const auto rows = static_cast<std::uint32_t>(rows_.size());
    const float epsilon = weights_.config.rms_norm_epsilon;
    for (std::uint32_t i = 0; i < weights_.layers.size(); ++i) {
        const Layer& layer = weights_.layers[i];
        ops_->rms_norm(hidden_, rows, layer.attention_norm, epsilon, normed_);
        project(layer);
        rotate_and_keep(i);
        attend(i);
        ops_->linear(layer.attention_output, attended_, rows,
                     {.y = hidden_, .epilogue = cpu::Epilogue::add});
        ops_->rms_norm(hidden_, rows, layer.ffn_norm, epsilon, normed_);
        ops_->linear(layer.gate_up, normed_, rows,
                     {.y = gated_, .epilogue = cpu::Epilogue::swiglu});
        ops_->linear(layer.down, gated_, rows, {.y = hidden_, .epilogue = cpu::Epilogue::add});
    }
    const std::uint32_t wanted = gather_logit_rows(slices);
    ops_->rms_norm(hidden_, wanted, weights_.final_norm, epsilon, normed_);
    ops_->linear(weights_.head, normed_, wanted, {.y = {logits_.data(), shape_.vocab}});
    return {logits_.data(), std::size_t{wanted} * shape_.vocab};
}

void Decoder::list_rows(std::span<const Slice> slices) {
    rows_.clear();
    parts_.clear();
    for (const Slice& slice : slices) {
        const std::size_t first = rows_.size(), count = slice.tokens.size();
        HF_ASSERT(count > 0 && count <= batch_tokens_max_ - first);
        HF_ASSERT(slice.logits <= count);
        HF_ASSERT(slice.position + count <= shape_.context);
        HF_ASSERT((slice.position + count - 1) / block_tokens < slice.blocks.size());
        for (const BlockId block : slice.blocks) HF_ASSERT(block < blocks_);
        for (std::uint32_t i = 0; i < count; ++i) {
            const auto token = static_cast<std::uint32_t>(slice.tokens[i]);
            const std::uint32_t position = slice.position + i;
            HF_ASSERT(token < shape_.vocab);
            rows_.push_back({token, position, slice.blocks[position / block_tokens]});
        }
        const cpu::AttentionJob job{.blocks = slice.blocks.data(),
                                    .position = slice.position,
                                    .heads = shape_.heads,
                                    .kv_heads = shape_.kv_heads,
                                    .head_dim = shape_.head_dim,
                                    .scale = 1.0F / std::sqrt(static_cast<float>(shape_.head_dim)),
                                    .queries = qkv_.row(first),
                                    .query_stride = qkv_.stride,
                                    .out = attended_.row(first),
                                    .out_stride = attended_.stride};
        parts_.push_back({job, static_cast<std::uint32_t>(count)});
    }
}

void Decoder::embed() {
    const std::uint64_t operations = std::uint64_t{rows_.size()} * shape_.hidden * 4;
    ops_->pool().run(static_cast<std::uint32_t>(rows_.size()), operations, [&](std::uint32_t i) {
        const Row& row = rows_[i];
        if (weights_.config.tied_head) {
            weights_.head.copy_output(row.token, hidden_.row(i));
        } else {
            const std::size_t bytes = tensor::bytes_of(weights_.embedding_type, shape_.hidden);
            tensor::dequantize(weights_.embedding_type,
                               weights_.embedding.data() + row.token * bytes,
                               {hidden_.row(i), shape_.hidden});
        }
        float* const angles = angles_.row(i);
        rotary_.angles(row.position, angles, angles + rotary_.pairs());
    });
}

// Queries, keys and values of all rows.
void Decoder::project(const Layer& layer) {
    std::uint32_t column = 0;
    for (const cpu::PackedMatrix& part : layer.qkv) {
        const float* const bias = layer.qkv_bias.empty() ? nullptr : layer.qkv_bias.data() + column;
        ops_->linear(part, normed_, static_cast<std::uint32_t>(rows_.size()),
                     {.y = {qkv_.data + column, qkv_.stride}, .bias = bias});
        column += part.outputs();
    }
}

void Decoder::rotate_and_keep(std::uint32_t layer) {
    const std::uint64_t operations = std::uint64_t{rows_.size()} * query_columns() * 4;
    ops_->pool().run(static_cast<std::uint32_t>(rows_.size()), operations, [&](std::uint32_t i) {
        const Row& row = rows_[i];
        const std::uint32_t pairs = rotary_.pairs();
        float* const query = qkv_.row(i);
        float* const key = query + query_columns();
        const float* const sines = angles_.row(i);
        cpu::rotate(query, shape_.heads + shape_.kv_heads, pairs, sines, sines + pairs);
        kept_.keep(layer, row.block, row.position % block_tokens, key, key + key_columns());
    });
}

void Decoder::attend(std::uint32_t layer) {
    for (cpu::Ops::AttentionPart& part : parts_) {
        part.job.kept = kept_.layer(layer);
    }
    ops_->attention(parts_, tasks_);
}

// Moves the hidden rows that want logits to the front; returns how many they are. A row only ever
// moves forward, so none is overwritten before it has moved.
std::uint32_t Decoder::gather_logit_rows(std::span<const Slice> slices) {
    std::uint32_t wanted = 0;
    std::size_t end = 0;
    for (const Slice& slice : slices) {
        end += slice.tokens.size();
        for (std::size_t row = end - slice.logits; row < end; ++row, ++wanted)
            if (row != wanted)
                std::memcpy(hidden_.row(wanted), hidden_.row(row), shape_.hidden * sizeof(float));
    }
    return wanted;
}

}  // namespace holdfast::model
