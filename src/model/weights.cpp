#include "model/weights.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "model/fingerprint.h"

namespace holdfast::model {
namespace {

using base::Code;
using tensor::Config;
using tensor::DataType;
using tensor::Tensor;

constexpr std::uint32_t half_panel = cpu::panel_outputs / 2;

// Bytes of one row of a [rows][inputs] tensor.
std::size_t row_bytes(const Tensor& tensor) {
    return tensor.shape[1] * tensor::bytes_of(tensor.type, 1);
}

class Loader {
public:
    Loader(const tensor::Checkpoint& checkpoint, const Config& config, cpu::Pool& pool,
           const Progress& progress)
        : checkpoint_(checkpoint),
          pool_(pool),
          progress_(progress),
          fingerprint_(config),
          steps_(config.layers + 2) {
        weights_.config = config;
    }

    base::Result<Weights> load() {
        const Config& config = weights_.config;
        HF_TRY(load_embedding());
        for (std::uint32_t i = 0; i < config.layers; ++i) {
            HF_TRY_ASSIGN(Layer layer, load_layer(fmt::format("model.layers.{}.", i)));
            weights_.layers.push_back(std::move(layer));
            report();
        }
        HF_TRY_ASSIGN(weights_.final_norm, vector("model.norm.weight", config.hidden));
        const char* const head = config.tied_head ? embedding_name : "lm_head.weight";
        HF_TRY_ASSIGN(weights_.head, matrix(head, config.vocab, config.hidden));
        weights_.fingerprint = fingerprint_.text(tensor::name(weights_.layers[0].qkv.type()));
        report();
        return std::move(weights_);
    }

private:
    static constexpr const char* embedding_name = "model.embed_tokens.weight";

    void report() {
        ++steps_done_;
        if (progress_) progress_(static_cast<double>(steps_done_) / steps_);
    }

    // The named tensor, its numbers checked and its bytes in the fingerprint.
    base::Result<const Tensor*> get(const std::string& name,
                                    std::initializer_list<std::uint64_t> shape) {
        HF_TRY_ASSIGN(const Tensor* const found, checkpoint_.get(name, shape));
        const std::size_t count = found->bytes.size() / tensor::bytes_of(found->type, 1);
        const std::size_t bad = cpu::find_not_finite(found->type, found->bytes.data(), count);
        if (bad != count)
            return base::fail(Code::corrupt, "{}: tensor \"{}\": element {} is not a finite number",
                              found->file, name, bad);
        fingerprint_.add(name, found->type_name, found->bytes);
        return found;
    }

    base::Result<std::vector<float>> vector(const std::string& name, std::uint32_t size) {
        HF_TRY_ASSIGN(const Tensor* const found, get(name, {size}));
        std::vector<float> values(size);
        cpu::widen(found->type, found->bytes.data(), size, values.data());
        return values;
    }

    base::Result<cpu::PackedMatrix> matrix(const std::string& name, std::uint32_t outputs,
                                           std::uint32_t inputs) {
        HF_TRY_ASSIGN(const Tensor* const found, get(name, {outputs, inputs}));
        HF_TRY_ASSIGN(auto packed, cpu::PackedMatrix::reserve(found->type, outputs, inputs));
        packed.fill(pool_, [&](std::uint32_t output) {
            return found->bytes.data() + output * row_bytes(*found);
        });
        return packed;
    }

    // Matrices that are computed together must have one type.
    static base::Result<> same_type(const Tensor& a, const Tensor& b) {
        if (a.type == b.type) return {};
        return base::fail(Code::invalid, "{}: tensors \"{}\" ({}) and \"{}\" ({}) differ in dtype",
                          a.file, a.name, a.type_name, b.name, b.type_name);
    }

    base::Result<> load_embedding() {
        const Config& config = weights_.config;
        if (!config.tied_head) {
            HF_TRY_ASSIGN(const Tensor* const table,
                          get(embedding_name, {config.vocab, config.hidden}));
            HF_TRY_ASSIGN(weights_.embedding,
                          cpu::Memory::reserve(table->bytes.size(), "the embedding"));
            std::memcpy(weights_.embedding.data(), table->bytes.data(), table->bytes.size());
            weights_.embedding_type = table->type;
        }
        report();
        return {};
    }

    base::Result<Layer> load_layer(const std::string& prefix) {
        const Config& config = weights_.config;
        Layer layer;
        HF_TRY_ASSIGN(layer.attention_norm,
                      vector(prefix + "input_layernorm.weight", config.hidden));
        HF_TRY(load_qkv(prefix + "self_attn.", layer));
        HF_TRY_ASSIGN(layer.attention_output,
                      matrix(prefix + "self_attn.o_proj.weight", config.hidden,
                             config.heads * config.head_dim));
        HF_TRY_ASSIGN(layer.ffn_norm,
                      vector(prefix + "post_attention_layernorm.weight", config.hidden));
        HF_TRY(load_gate_up(prefix + "mlp.", layer));
        HF_TRY_ASSIGN(layer.down,
                      matrix(prefix + "mlp.down_proj.weight", config.hidden, config.ffn));
        return layer;
    }

    base::Result<> load_qkv(const std::string& prefix, Layer& layer) {
        const Config& config = weights_.config;
        std::vector<const std::byte*> rows;
        const Tensor* first = nullptr;
        for (const char* const part : {"q", "k", "v"}) {
            const std::uint32_t heads = *part == 'q' ? config.heads : config.kv_heads;
            const std::uint32_t outputs = heads * config.head_dim;
            HF_TRY_ASSIGN(
                const Tensor* const weight,
                get(fmt::format("{}{}_proj.weight", prefix, part), {outputs, config.hidden}));
            HF_TRY_ASSIGN(const std::vector<float> bias,
                          vector(fmt::format("{}{}_proj.bias", prefix, part), outputs));
            if (first == nullptr) first = weight;
            HF_TRY(same_type(*first, *weight));
            for (std::uint32_t i = 0; i < outputs; ++i)
                rows.push_back(weight->bytes.data() + i * row_bytes(*weight));
            layer.qkv_bias.insert(layer.qkv_bias.end(), bias.begin(), bias.end());
        }
        HF_TRY_ASSIGN(layer.qkv,
                      cpu::PackedMatrix::reserve(
                          first->type, static_cast<std::uint32_t>(rows.size()), config.hidden));
        layer.qkv.fill(pool_, [&](std::uint32_t output) { return rows[output]; });
        return {};
    }

    base::Result<> load_gate_up(const std::string& prefix, Layer& layer) {
        const Config& config = weights_.config;
        HF_TRY_ASSIGN(const Tensor* const gate,
                      get(prefix + "gate_proj.weight", {config.ffn, config.hidden}));
        HF_TRY_ASSIGN(const Tensor* const up,
                      get(prefix + "up_proj.weight", {config.ffn, config.hidden}));
        HF_TRY(same_type(*gate, *up));
        HF_TRY_ASSIGN(layer.gate_up,
                      cpu::PackedMatrix::reserve(gate->type, 2 * config.ffn, config.hidden));
        layer.gate_up.fill(pool_, [&](std::uint32_t output) {
            const std::uint32_t in_panel = output % cpu::panel_outputs;
            const Tensor& part = in_panel < half_panel ? *gate : *up;
            const std::uint32_t row =
                output / cpu::panel_outputs * half_panel + in_panel % half_panel;
            return part.bytes.data() + row * row_bytes(part);
        });
        return {};
    }

    const tensor::Checkpoint& checkpoint_;
    cpu::Pool& pool_;
    const Progress& progress_;
    Fingerprint fingerprint_;
    Weights weights_;
    std::uint32_t steps_ = 0, steps_done_ = 0;
};

}  // namespace

base::Result<Weights> load_weights(const tensor::Checkpoint& checkpoint, const Config& config,
                                   cpu::Pool& pool, const Progress& progress) {
    return Loader(checkpoint, config, pool, progress).load();
}

std::size_t weight_bytes(const Config& config, DataType type) {
    const auto packed = [&](std::uint32_t outputs, std::uint32_t inputs) {
        return cpu::PackedMatrix::needed_bytes(type, outputs, inputs);
    };
    const std::uint32_t attended = config.heads * config.head_dim;
    const std::size_t layer =
        packed(attended + 2 * config.kv_heads * config.head_dim, config.hidden) +
        packed(config.hidden, attended) + packed(2 * config.ffn, config.hidden) +
        packed(config.hidden, config.ffn);
    const std::size_t embedding =
        std::size_t{config.vocab} * config.hidden * tensor::bytes_of(type, 1);
    return config.layers * layer + packed(config.vocab, config.hidden) +
           (config.tied_head ? 0 : embedding);
}

}  // namespace holdfast::model
