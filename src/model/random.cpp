#include "model/random.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "model/fingerprint.h"

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

// Four evenly distributed bf16 numbers of variance 1 / inputs from one hash.
class Filler {
public:
    Filler(cpu::Pool& pool, std::uint64_t seed) : pool_(pool), seed_(seed) {}

    void fill(std::byte* to, std::size_t bytes, std::uint32_t inputs) {
        const std::uint64_t key = mix(++seed_);
        const float step = std::sqrt(12.0F / static_cast<float>(inputs)) / 65'536;
        const auto parts = static_cast<std::uint32_t>((bytes + part_bytes - 1) / part_bytes);
        pool_.run(parts, bytes * 4, [&](std::uint32_t part) {
            const std::size_t begin = part * part_bytes;
            const std::size_t end = std::min(bytes, begin + part_bytes);
            for (std::size_t i = begin; i < end; i += 8) {
                const std::uint64_t hash = mix(key + i);
                std::uint64_t four = 0;
                for (int shift = 0; shift < 64; shift += 16) {
                    const auto level = static_cast<std::int16_t>(hash >> shift);
                    const float value = static_cast<float>(level) * step;
                    four |= std::uint64_t{std::bit_cast<std::uint32_t>(value) >> 16} << shift;
                }
                std::memcpy(to + i, &four, sizeof four);
            }
        });
    }

    base::Result<cpu::PackedMatrix> matrix(std::uint32_t outputs, std::uint32_t inputs) {
        HF_TRY_ASSIGN(auto packed, cpu::PackedMatrix::reserve(DataType::bf16, outputs, inputs));
        fill(packed.data(), packed.panels() * packed.panel_bytes(), inputs);
        return packed;
    }

private:
    static constexpr std::size_t part_bytes = std::size_t{1} << 20;
    cpu::Pool& pool_;
    std::uint64_t seed_;
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

base::Result<Weights> random_weights(const tensor::Config& config, DataType type, cpu::Pool& pool) {
    if (type != DataType::bf16)
        return base::fail(base::Code::invalid, "random weights are bf16, not {}",
                          tensor::name(type));
    Filler filler(pool, 1);
    Weights weights;
    weights.config = config;
    if (!config.tied_head) {
        const std::size_t bytes = std::size_t{config.vocab} * config.hidden * 2;
        HF_TRY_ASSIGN(weights.embedding, cpu::Memory::reserve(bytes, "the embedding"));
        filler.fill(weights.embedding.data(), bytes, 1);
        weights.embedding_type = DataType::bf16;
    }
    const std::uint32_t attended = config.heads * config.head_dim;
    const std::uint32_t qkv = attended + 2 * config.kv_heads * config.head_dim;
    for (std::uint32_t i = 0; i < config.layers; ++i) {
        Layer layer;
        layer.attention_norm.assign(config.hidden, 1.0F);
        layer.ffn_norm.assign(config.hidden, 1.0F);
        layer.qkv_bias.assign(qkv, 0.125F);
        HF_TRY_ASSIGN(layer.qkv, filler.matrix(qkv, config.hidden));
        HF_TRY_ASSIGN(layer.attention_output, filler.matrix(config.hidden, attended));
        HF_TRY_ASSIGN(layer.gate_up, filler.matrix(2 * config.ffn, config.hidden));
        HF_TRY_ASSIGN(layer.down, filler.matrix(config.hidden, config.ffn));
        weights.layers.push_back(std::move(layer));
    }
    weights.final_norm.assign(config.hidden, 1.0F);
    HF_TRY_ASSIGN(weights.head, filler.matrix(config.vocab, config.hidden));
    weights.fingerprint = Fingerprint(config).text("random");
    return weights;
}

}  // namespace holdfast::model
