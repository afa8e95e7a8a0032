#include "inference/model/walk.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "inference/model/weight_source.h"
#include "inference/tensor/quantize.h"

namespace holdfast::model {
namespace {

using tensor::Config;
using tensor::DataType;
using tensor::Role;
using tensor::SourceRow;
using tensor::Tensor;

constexpr const char* embedding_name = "model.embed_tokens.weight";

SourceRow row_of(const Tensor& tensor, std::uint32_t row) {
    return {tensor.type,
            tensor.bytes.data() + row * tensor::bytes_of(tensor.type, tensor.shape[1])};
}

// One matrix has one type. The one with more bits loses nothing of the other that matters; bf16 and
// f16 have as many bits, and float32 holds both.
DataType better_of(DataType a, DataType b) {
    const auto bits = [](DataType type) { return tensor::bytes_of(type, 256) * 8; };
    if (a == b) return a;
    if (bits(a) == bits(b)) return DataType::f32;
    return bits(a) > bits(b) ? a : b;
}

class Walk {
public:
    Walk(const tensor::Checkpoint& checkpoint, const Config& config,
         std::optional<DataType> converted, TensorReader& reader, tensor::WeightSink& sink)
        : checkpoint_(checkpoint),
          config_(config),
          converted_(converted),
          reader_(reader),
          sink_(sink) {
        if (converted) head_type_ = head_type(*converted, config.hidden);
    }

    base::Result<> embedding() {
        if (config_.tied_head) return {};
        HF_TRY_ASSIGN(const Tensor* const found,
                      get(embedding_name, {config_.vocab, config_.hidden}));
        const DataType type = head_type_.value_or(found->type);
        reader_.made(type);
        return sink_.table(type, config_.vocab, config_.hidden,
                           [&](std::uint32_t row) { return row_of(*found, row); });
    }

    base::Result<> layer(std::uint32_t index) {
        layer_ = index;
        const std::string prefix = fmt::format("model.layers.{}.", index);
        HF_TRY(vector(Role::attention_norm, prefix + "input_layernorm.weight", config_.hidden));
        HF_TRY(qkv(prefix + "self_attn."));
        HF_TRY(layer_matrix(Role::attention_output, prefix + "self_attn.o_proj.weight",
                            config_.hidden, config_.heads * config_.head_dim));
        HF_TRY(vector(Role::ffn_norm, prefix + "post_attention_layernorm.weight", config_.hidden));
        HF_TRY(gate_up(prefix + "mlp."));
        return layer_matrix(Role::down, prefix + "mlp.down_proj.weight", config_.hidden,
                            config_.ffn);
    }

    base::Result<> end() {
        layer_ = 0;
        HF_TRY(vector(Role::final_norm, "model.norm.weight", config_.hidden));
        const std::string name = config_.tied_head ? embedding_name : "lm_head.weight";
        HF_TRY_ASSIGN(const Tensor* const found, get(name, {config_.vocab, config_.hidden}));
        return matrix(Role::head, head_type_.value_or(found->type), config_.vocab, config_.hidden,
                      [&](std::uint32_t output) { return row_of(*found, output); });
    }

    DataType layers_type() const {
        return static_cast<DataType>(std::ranges::max_element(layer_bytes_) - layer_bytes_.begin());
    }

private:
    base::Result<const Tensor*> get(const std::string& name,
                                    std::initializer_list<std::uint64_t> shape) {
        HF_TRY_ASSIGN(const Tensor* const found, checkpoint_.get(name, shape));
        if (found->shape.back() % tensor::traits(found->type).block_elements != 0)
            return base::fail(base::Code::invalid,
                              "{}: tensor \"{}\": rows of {} are not whole blocks", found->file,
                              name, found->shape.back());
        HF_TRY(reader_.read(*found));
        return found;
    }

    // What a matrix of a layer becomes.
    DataType kept_type(DataType own, std::uint32_t inputs) const {
        return converted_ ? tensor::fitting_type(*converted_, inputs) : own;
    }

    base::Result<> vector(Role role, const std::string& name, std::uint32_t size) {
        HF_TRY_ASSIGN(const Tensor* const found, get(name, {size}));
        return sink_.vector(role, layer_, size, [&] {
            std::vector<float> values(size);
            tensor::dequantize(found->type, found->bytes.data(), values);
            return values;
        });
    }

    base::Result<> matrix(Role role, DataType type, std::uint32_t outputs, std::uint32_t inputs,
                          const tensor::RowOf& rows) {
        if (role != Role::head)
            layer_bytes_[static_cast<std::size_t>(type)] +=
                outputs * tensor::bytes_of(type, inputs);
        reader_.made(type);
        return sink_.matrix(role, layer_, type, outputs, inputs, rows);
    }

    base::Result<> layer_matrix(Role role, const std::string& name, std::uint32_t outputs,
                                std::uint32_t inputs) {
        HF_TRY_ASSIGN(const Tensor* const found, get(name, {outputs, inputs}));
        return matrix(role, kept_type(found->type, inputs), outputs, inputs,
                      [&](std::uint32_t output) { return row_of(*found, output); });
    }

    // Where the file keeps row `row` of queries or keys, in transformers' order of rows.
    std::uint32_t head_row(std::uint32_t row) const {
        if (!checkpoint_.has_interleaved_heads()) return row;
        const std::uint32_t dim = config_.head_dim, in_head = row % dim;
        return row - in_head + (in_head < dim / 2 ? 2 * in_head : 2 * (in_head - dim / 2) + 1);
    }

    base::Result<> qkv(const std::string& prefix) {
        std::vector<SourceRow> rows;  // of the parts that have one type so far
        std::vector<const Tensor*> biases;
        DataType type = DataType::other;
        const auto finish = [&] {
            const auto outputs = static_cast<std::uint32_t>(rows.size());
            return matrix(Role::qkv, type, outputs, config_.hidden,
                          [&](std::uint32_t output) { return rows[output]; });
        };
        for (const char part : {'q', 'k', 'v'}) {
            const std::uint32_t outputs =
                (part == 'q' ? config_.heads : config_.kv_heads) * config_.head_dim;
            const std::string name = fmt::format("{}{}_proj.", prefix, part);
            HF_TRY_ASSIGN(const Tensor* const weight,
                          get(name + "weight", {outputs, config_.hidden}));
            if (config_.qkv_bias) {
                HF_TRY_ASSIGN(biases.emplace_back(), get(name + "bias", {outputs}));
            }
            const DataType own = kept_type(weight->type, config_.hidden);
            if (!rows.empty() && own != type) {
                HF_TRY(finish());
                rows.clear();
            }
            type = own;
            for (std::uint32_t i = 0; i < outputs; ++i)
                rows.push_back(row_of(*weight, part == 'v' ? i : head_row(i)));
        }
        HF_TRY(finish());
        return config_.qkv_bias ? qkv_bias(biases) : base::Result<>();
    }

    base::Result<> qkv_bias(const std::vector<const Tensor*>& parts) {
        std::uint32_t size = 0;
        for (const Tensor* const part : parts) size += static_cast<std::uint32_t>(part->shape[0]);
        return sink_.vector(Role::qkv_bias, layer_, size, [&] {
            std::vector<float> all;
            for (const Tensor* const part : parts) {
                std::vector<float> own(part->shape[0]);
                tensor::dequantize(part->type, part->bytes.data(), own);
                for (std::uint32_t i = 0; i < own.size(); ++i)
                    all.push_back(own[part == parts.back() ? i : head_row(i)]);
            }
            return all;
        });
    }

    base::Result<> gate_up(const std::string& prefix) {
        const std::uint32_t ffn = config_.ffn;
        HF_TRY_ASSIGN(const Tensor* const gate,
                      get(prefix + "gate_proj.weight", {ffn, config_.hidden}));
        HF_TRY_ASSIGN(const Tensor* const up,
                      get(prefix + "up_proj.weight", {ffn, config_.hidden}));
        const DataType type = kept_type(better_of(gate->type, up->type), config_.hidden);
        return matrix(Role::gate_up, type, 2 * ffn, config_.hidden, [&](std::uint32_t output) {
            return output < ffn ? row_of(*gate, output) : row_of(*up, output - ffn);
        });
    }

    const tensor::Checkpoint& checkpoint_;
    const Config& config_;
    std::optional<DataType> converted_, head_type_;
    TensorReader& reader_;
    tensor::WeightSink& sink_;
    std::uint32_t layer_ = 0;
    std::array<std::size_t, static_cast<std::size_t>(DataType::other)> layer_bytes_{};  // by type
};

}  // namespace

base::Result<DataType> walk(const tensor::Checkpoint& checkpoint, const Config& config,
                            std::optional<DataType> converted, TensorReader& reader,
                            tensor::WeightSink& sink,
                            const std::function<void(double share)>& on_progress) {
    const std::uint32_t steps = config.layers + 2;
    const auto report = [&](std::uint32_t done) {
        if (on_progress) on_progress(static_cast<double>(done) / steps);
    };
    Walk way(checkpoint, config, converted, reader, sink);
    HF_TRY(way.embedding());
    report(1);
    for (std::uint32_t i = 0; i < config.layers; ++i) {
        HF_TRY(way.layer(i));
        report(i + 2);
    }
    HF_TRY(way.end());
    report(steps);
    return way.layers_type();
}

}  // namespace holdfast::model
