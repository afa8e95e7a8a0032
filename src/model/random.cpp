#include "model/random.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "model/fingerprint.h"
#include "tensor/quantize.h"

namespace holdfast::model {
namespace {

using tensor::DataType;

// The finalizer of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
// generators", 2014).
std::uint64_t mix(std::uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
}

// Rows of made-up numbers of variance 1 / inputs: each begins somewhere in one long run of them.
class RandomRows {
public:
    RandomRows(DataType type, std::uint32_t inputs, float variance)
        : type_(type), inputs_(inputs), run_(tensor::bytes_of(type, elements + inputs)) {
        const float step = std::sqrt(12.0F * variance) / 65'536;
        std::vector<float> values(elements + inputs);
        for (std::size_t i = 0; i < values.size(); ++i)
            values[i] = static_cast<float>(static_cast<std::int16_t>(mix(i))) * step;
        tensor::quantize(type, values, run_.data());
    }

    DataType type() const { return type_; }
    std::uint32_t inputs() const { return inputs_; }

    cpu::SourceRow row(std::uint32_t matrix, std::uint32_t output) const {
        const std::size_t blocks = elements / tensor::traits(type_).block_elements;
        const std::size_t first = mix(std::uint64_t{matrix} << 32 | output) % blocks;
        return {type_, run_.data() + first * tensor::traits(type_).block_bytes};
    }

private:
    static constexpr std::size_t elements = std::size_t{1} << 20;
    DataType type_;
    std::uint32_t inputs_;
    std::vector<std::byte> run_;
};

// Makes one matrix after the other, each unlike all others.
class Maker {
public:
    Maker(cpu::Pool& pool, cpu::Numerics numerics) : pool_(pool), numerics_(numerics) {}

    base::Result<cpu::PackedMatrix> matrix(const RandomRows& rows, std::uint32_t outputs) {
        HF_TRY_ASSIGN(auto packed,
                      cpu::PackedMatrix::reserve(rows.type(), outputs, rows.inputs(), numerics_));
        const std::uint32_t number = made_++;
        packed.fill(pool_, [&](std::uint32_t output) { return rows.row(number, output); });
        return packed;
    }

    base::Result<cpu::Memory> table(const RandomRows& rows, std::uint32_t count) {
        const std::size_t bytes = tensor::bytes_of(rows.type(), rows.inputs());
        HF_TRY_ASSIGN(auto memory, cpu::Memory::reserve(bytes * count, "the embedding"));
        const std::uint32_t number = made_++;
        for (std::uint32_t i = 0; i < count; ++i)
            std::memcpy(memory.data() + i * bytes, rows.row(number, i).bytes, bytes);
        return memory;
    }

private:
    cpu::Pool& pool_;
    cpu::Numerics numerics_;
    std::uint32_t made_ = 0;
};

base::Result<> check_blocks(const tensor::Config& config, DataType type) {
    const std::uint32_t block = tensor::traits(type).block_elements;
    for (const std::uint32_t inputs : {config.hidden, config.heads * config.head_dim, config.ffn})
        if (inputs % block != 0)
            return base::fail(base::Code::invalid,
                              "weights: {} needs rows of a multiple of {}, the shape has {}",
                              tensor::name(type), block, inputs);
    return {};
}

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
                                     const LoadOptions& options, cpu::Pool& pool) {
    HF_TRY(check_blocks(config, type));
    const DataType last = head_type(type, config.hidden);
    const std::uint32_t attended = config.heads * config.head_dim;
    const std::uint32_t qkv = attended + 2 * config.kv_heads * config.head_dim;
    const auto variance = [](std::uint32_t inputs) { return 1.0F / static_cast<float>(inputs); };
    const RandomRows of_hidden(type, config.hidden, variance(config.hidden));
    const RandomRows of_attended(type, attended, variance(attended));
    const RandomRows of_ffn(type, config.ffn, variance(config.ffn));
    const auto numerics = options.native_numerics ? cpu::Numerics::native : cpu::Numerics::portable;
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
        maker.matrix(RandomRows(last, config.hidden, variance(config.hidden)), config.vocab));
    Fingerprint fingerprint(config, false);
    fingerprint.add_matrix(last);
    weights.fingerprint = fingerprint.text({numerics, type, options.kv_type});
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
