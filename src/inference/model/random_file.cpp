#include <fmt/format.h>

#include <cstring>
#include <functional>
#include <vector>

#include "inference/backend/cpu/rotary.h"
#include "inference/model/random.h"
#include "inference/model/random_rows.h"
#include "inference/tensor/gguf_names.h"
#include "inference/tensor/gguf_writer.h"

namespace holdfast::model {
namespace {

using tensor::Config;
using tensor::DataType;
using tensor::GgufTensor;

tensor::GgufMetadata metadata(const Config& config) {
    tensor::GgufMetadata made;
    const auto key = [&](std::string_view name) {
        return fmt::format("{}.{}", config.architecture, name);
    };
    made.text("general.architecture", config.architecture);
    made.text("general.name", "random weights");
    made.integer(key("block_count"), config.layers);
    made.integer(key("context_length"), config.context);
    made.integer(key("embedding_length"), config.hidden);
    made.integer(key("feed_forward_length"), config.ffn);
    made.integer(key("attention.head_count"), config.heads);
    made.integer(key("attention.head_count_kv"), config.kv_heads);
    made.integer(key("attention.key_length"), config.head_dim);
    made.integer(key("attention.value_length"), config.head_dim);
    made.integer(key("rope.dimension_count"), config.head_dim);
    made.number(key("rope.freq_base"), config.rope_theta);
    made.number(key("attention.layer_norm_rms_epsilon"), config.rms_norm_epsilon);
    // What other programs call a file without a tokenizer, and what they then count tokens by.
    made.text("tokenizer.ggml.model", "none");
    made.integer(key("vocab_size"), config.vocab);
    made.integer("tokenizer.ggml.eos_token_id", static_cast<std::uint32_t>(config.eos.at(0)));
    return made;
}

// Tensors and what writes a row of each, in the order of the file.
class Plan {
public:
    using WriteRow = std::function<std::span<const std::byte>(std::uint32_t row)>;

    void constant(const std::string& name, std::uint32_t size, float value) {
        vector(name, std::vector<float>(size, value));
    }

    void vector(const std::string& name, std::vector<float> values) {
        tensors_.push_back({*tensor::gguf_name(name), {values.size()}, DataType::f32});
        rows_.emplace_back([values = std::move(values)](std::uint32_t) {
            return std::as_bytes(std::span(values));
        });
    }

    void matrix(const std::string& name, const RandomRows& rows, std::uint32_t outputs) {
        const auto number = static_cast<std::uint32_t>(tensors_.size());
        tensors_.push_back({*tensor::gguf_name(name), {outputs, rows.inputs()}, rows.type()});
        rows_.emplace_back([&rows, number](std::uint32_t row) {
            return std::span(rows.row(number, row).bytes, rows.row_bytes());
        });
    }

    base::Result<> write(const Config& config, const std::string& path) const {
        HF_TRY_ASSIGN(auto writer,
                      tensor::GgufWriter::create(path, false, metadata(config), tensors_));
        for (std::size_t i = 0; i < tensors_.size(); ++i) {
            const std::uint64_t rows = tensors_[i].shape.size() == 1 ? 1 : tensors_[i].shape[0];
            for (std::uint32_t row = 0; row < rows; ++row) HF_TRY(writer.append(rows_[i](row)));
        }
        return writer.finish();
    }

private:
    std::vector<GgufTensor> tensors_;
    std::vector<WriteRow> rows_;
};

// Llama's stretching as GGUF writes it: what each frequency is divided by.
std::vector<float> divisors(const Config& config) {
    const cpu::Rotary plain(config.rope_theta, config.head_dim);
    cpu::Rotary stretched = plain;
    stretched.stretch(*config.rope_scaling);
    std::vector<float> made;
    for (std::size_t i = 0; i < plain.pairs(); ++i)
        made.push_back(plain.frequencies()[i] / stretched.frequencies()[i]);
    return made;
}

}  // namespace

base::Result<> write_random(const Config& config, DataType type, const std::string& path) {
    HF_TRY(check_blocks(config, type));
    const DataType last = head_type(type, config.hidden);
    const std::uint32_t attended = config.heads * config.head_dim;
    const std::uint32_t kept = config.kv_heads * config.head_dim;
    const RandomRows of_hidden(type, config.hidden, variance_for(config.hidden));
    const RandomRows of_attended(type, attended, variance_for(attended));
    const RandomRows of_ffn(type, config.ffn, variance_for(config.ffn));
    const RandomRows embedding(last, config.hidden,
                               config.tied_head ? variance_for(config.hidden) : 1);
    const RandomRows head(last, config.hidden, variance_for(config.hidden));
    Plan plan;
    if (config.rope_scaling) plan.vector("rope_freqs.weight", divisors(config));
    plan.matrix("model.embed_tokens.weight", embedding, config.vocab);
    for (std::uint32_t i = 0; i < config.layers; ++i) {
        const std::string layer = fmt::format("model.layers.{}.", i);
        plan.constant(layer + "input_layernorm.weight", config.hidden, 1);
        for (const char part : {'q', 'k', 'v'}) {
            const std::uint32_t outputs = part == 'q' ? attended : kept;
            const std::string name = fmt::format("{}self_attn.{}_proj.", layer, part);
            plan.matrix(name + "weight", of_hidden, outputs);
            if (config.qkv_bias) plan.constant(name + "bias", outputs, 0.125F);
        }
        plan.matrix(layer + "self_attn.o_proj.weight", of_attended, config.hidden);
        plan.constant(layer + "post_attention_layernorm.weight", config.hidden, 1);
        plan.matrix(layer + "mlp.gate_proj.weight", of_hidden, config.ffn);
        plan.matrix(layer + "mlp.up_proj.weight", of_hidden, config.ffn);
        plan.matrix(layer + "mlp.down_proj.weight", of_ffn, config.hidden);
    }
    plan.constant("model.norm.weight", config.hidden, 1);
    if (!config.tied_head) plan.matrix("lm_head.weight", head, config.vocab);
    return plan.write(config, path);
}

}  // namespace holdfast::model
