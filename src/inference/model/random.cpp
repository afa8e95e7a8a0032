#include "inference/model/random.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "inference/model/fingerprint.h"
#include "inference/model/random_rows.h"

namespace holdfast::model {
namespace {

using tensor::DataType;

// Makes one matrix after the other, each unlike all others.
class Maker {
public:
    Maker(cores::Pool& pool, cpu::Numerics numerics) : pool_(pool), numerics_(numerics) {}

    base::Result<cpu::PackedMatrix> matrix(const RandomRows& rows, std::uint32_t outputs) {
        HF_TRY_ASSIGN(auto packed, cpu::PackedMatrix::reserve(rows.type(), outputs, rows.inputs(),
                                                              numerics_, &pool_));
        const std::uint32_t number = made_++;
        packed.fill(pool_, [&](std::uint32_t output) { return rows.row(number, output); });
        return packed;
    }

    base::Result<cpu::Memory> table(const RandomRows& rows, std::uint32_t count) {
        const std::size_t bytes = tensor::bytes_of(rows.type(), rows.inputs());
        HF_TRY_ASSIGN(auto memory, cpu::Memory::reserve(bytes * count, "the embedding", &pool_));
        const std::uint32_t number = made_++;
        for (std::uint32_t i = 0; i < count; ++i)
            std::memcpy(memory.data() + i * bytes, rows.row(number, i).bytes, bytes);
        return memory;
    }

private:
    cores::Pool& pool_;
    cpu::Numerics numerics_;
    std::uint32_t made_ = 0;
};

// From the config.json files of the distills.
struct NamedShape {
    std::string_view name;
    bool llama;
    std::uint32_t layers, hidden, heads, kv_heads, ffn, vocab;
    float rope_theta, epsilon;
};
constexpr NamedShape shapes[] = {
    {"r1-1.5b", false, 28, 1'536, 12, 2, 8'960, 151'936, 1e4F, 1e-6F},
    {"r1-7b", false, 28, 3'584, 28, 4, 18'944, 152'064, 1e4F, 1e-6F},
    {"r1-14b", false, 48, 5'120, 40, 8, 13'824, 152'064, 1e6F, 1e-5F},
    {"r1-32b", false, 64, 5'120, 40, 8, 27'648, 152'064, 1e6F, 1e-5F},
    {"r1-llama-8b", true, 32, 4'096, 32, 8, 14'336, 128'256, 5e5F, 1e-5F},
    {"r1-llama-70b", true, 80, 8'192, 64, 8, 28'672, 128'256, 5e5F, 1e-5F},
};

}  // namespace

std::span<const std::string_view> shape_names() {
    static constexpr auto names = [] {
        std::array<std::string_view, std::size(shapes)> list{};
        std::ranges::transform(shapes, list.begin(), &NamedShape::name);
        return list;
    }();
    return names;
}

std::optional<tensor::Config> find_shape(std::string_view name) {
    const auto* const found = std::ranges::find(shapes, name, &NamedShape::name);
    if (found == std::end(shapes)) return std::nullopt;
    tensor::Config config{.architecture = found->llama ? "llama" : "qwen2",
                          .layers = found->layers,
                          .hidden = found->hidden,
                          .heads = found->heads,
                          .kv_heads = found->kv_heads,
                          .head_dim = 128,
                          .ffn = found->ffn,
                          .vocab = found->vocab,
                          .context = 131'072,
                          .rope_theta = found->rope_theta,
                          .rms_norm_epsilon = found->epsilon,
                          .qkv_bias = !found->llama,
                          .tied_head = false,
                          .eos = {found->llama ? 128'001 : 151'643}};
    if (found->llama) config.rope_scaling.emplace();
    return config;
}

base::Result<Weights> random_weights(const tensor::Config& config, DataType type,
                                     const LoadOptions& options, cores::Pool& pool) {
    HF_TRY(check_blocks(config, type));
    const DataType last = head_type(type, config.hidden);
    const std::uint32_t attended = config.heads * config.head_dim;
    const std::uint32_t qkv = attended + 2 * config.kv_heads * config.head_dim;
    const RandomRows of_hidden(type, config.hidden, variance_for(config.hidden));
    const RandomRows of_attended(type, attended, variance_for(attended));
    const RandomRows of_ffn(type, config.ffn, variance_for(config.ffn));
    const auto numerics =
        options.native_numerics ? cpu::native_numerics() : cpu::Numerics::portable;
    Maker maker(pool, numerics);
    Weights weights;
    weights.config = config;
    if (!config.tied_head) {
        HF_TRY_ASSIGN(weights.embedding,
                      maker.table(RandomRows(last, config.hidden, 1), config.vocab));
        weights.embedding_type = last;
    }
    for (std::uint32_t i = 0; i < config.layers; ++i) {
        Layer layer;
        layer.attention_norm.assign(config.hidden, 1.0F);
        layer.ffn_norm.assign(config.hidden, 1.0F);
        if (config.qkv_bias) layer.qkv_bias.assign(qkv, 0.125F);
        HF_TRY_ASSIGN(layer.qkv.emplace_back(), maker.matrix(of_hidden, qkv));
        HF_TRY_ASSIGN(layer.attention_output, maker.matrix(of_attended, config.hidden));
        HF_TRY_ASSIGN(layer.gate_up, maker.matrix(of_hidden, 2 * config.ffn));
        HF_TRY_ASSIGN(layer.down, maker.matrix(of_ffn, config.hidden));
        weights.layers.push_back(std::move(layer));
    }
    weights.final_norm.assign(config.hidden, 1.0F);
    HF_TRY_ASSIGN(
        weights.head,
        maker.matrix(RandomRows(last, config.hidden, variance_for(config.hidden)), config.vocab));
    Fingerprint fingerprint(config, false);
    fingerprint.add_matrix(last);
    weights.fingerprint = fingerprint.text({cpu::name(numerics), type, options.kv_type});
    return weights;
}

std::size_t random_weight_bytes(const tensor::Config& config, DataType type) {
    const auto packed = [](DataType own, std::uint32_t outputs, std::uint32_t inputs) {
        return cpu::Memory::backed_bytes(cpu::PackedMatrix::needed_bytes(own, outputs, inputs));
    };
    const DataType last = head_type(type, config.hidden);
    const std::uint32_t attended = config.heads * config.head_dim;
    const std::size_t layer =
        packed(type, attended + 2 * config.kv_heads * config.head_dim, config.hidden) +
        packed(type, config.hidden, attended) + packed(type, 2 * config.ffn, config.hidden) +
        packed(type, config.hidden, config.ffn);
    const std::size_t embedding = cpu::Memory::backed_bytes(std::size_t{config.vocab} *
                                                            tensor::bytes_of(last, config.hidden));
    return config.layers * layer + packed(last, config.vocab, config.hidden) +
           (config.tied_head ? 0 : embedding);
}

}  // namespace holdfast::model
