#include "inference/model/weights.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>

#include "common/base/assert.h"
#include "common/base/hash.h"
#include "inference/model/fingerprint.h"
#include "inference/tensor/file_map.h"
#include "inference/tensor/quantize.h"
#include "inference/tensor/read_ahead.h"

namespace holdfast::model {
namespace {

using base::Code;
using tensor::Config;
using tensor::DataType;
using tensor::Tensor;

constexpr std::uint32_t half_panel = cpu::panel_outputs / 2;
constexpr const char* embedding_name = "model.embed_tokens.weight";

// Where a row of a matrix stands in the checkpoint.
struct Place {
    const Tensor* tensor = nullptr;
    std::uint32_t row = 0;

    const std::byte* bytes() const {
        return tensor->bytes.data() + row * tensor::bytes_of(tensor->type, tensor->shape[1]);
    }
};
using Locate = std::function<Place(std::uint32_t output)>;

// Parts of a tensor that all threads check together: 32 MiB, so that a file is read from its
// beginning to its end and not at as many places as there are threads.
constexpr std::uint32_t parts_together = 128;

// What the walk through the checkpoint works with; without it, it only counts.
struct Tools {
    cores::Pool& pool;
    tensor::ReadAhead& read_ahead;
};

// Walks the checkpoint in one fixed order. Without tools it only counts what loading would reserve
// and lists what it would read, so that both agree about every byte.
class Loader {
public:
    Loader(const tensor::Checkpoint& checkpoint, const Config& config, const LoadOptions& options,
           Tools* tools)
        : checkpoint_(checkpoint),
          options_(options),
          tools_(tools),
          fingerprint_(config, checkpoint.has_interleaved_heads()),
          steps_(config.layers + 2) {
        weights_.config = config;
        if (options.weights) head_type_ = head_type(*options.weights, config.hidden);
    }

    base::Result<Weights> load() {
        const Config& config = weights_.config;
        HF_TRY(load_embedding());
        for (std::uint32_t i = 0; i < config.layers; ++i) {
            HF_TRY_ASSIGN(Layer layer, load_layer(fmt::format("model.layers.{}.", i)));
            weights_.layers.push_back(std::move(layer));
            report();
        }
        const auto format =
            static_cast<DataType>(std::ranges::max_element(packed_bytes_) - packed_bytes_.begin());
        HF_TRY_ASSIGN(weights_.final_norm, vector("model.norm.weight", config.hidden));
        const std::string head = config.tied_head ? embedding_name : "lm_head.weight";
        HF_TRY_ASSIGN(weights_.head, matrix(head, config.vocab, config.hidden, head_type_));
        report();
        if (tools_ != nullptr)
            weights_.fingerprint =
                fingerprint_.text({cpu::name(numerics()), format, options_.kv_type});
        return std::move(weights_);
    }

    std::size_t bytes() const { return bytes_; }
    std::vector<std::span<const std::byte>> take_reads() { return std::move(reads_); }

private:
    void report() {
        ++steps_done_;
        if (tools_ != nullptr && options_.on_progress)
            options_.on_progress(static_cast<double>(steps_done_) / steps_);
    }

    cpu::Numerics numerics() const {
        return options_.native_numerics ? cpu::native_numerics() : cpu::Numerics::portable;
    }

    // What a matrix of a layer becomes.
    DataType kept_type(DataType own, std::uint32_t inputs) const {
        return options_.weights ? tensor::fitting_type(*options_.weights, inputs) : own;
    }

    // The named tensor, its numbers checked and its bytes in the fingerprint.
    base::Result<const Tensor*> get(const std::string& name,
                                    std::initializer_list<std::uint64_t> shape) {
        HF_TRY_ASSIGN(const Tensor* const found, checkpoint_.get(name, shape));
        if (found->shape.back() % tensor::traits(found->type).block_elements != 0)
            return base::fail(Code::invalid, "{}: tensor \"{}\": rows of {} are not whole blocks",
                              found->file, name, found->shape.back());
        if (tools_ == nullptr) reads_.push_back(found->bytes);
        if (tools_ != nullptr) HF_TRY(check_and_hash(*found));
        if (tools_ != nullptr && shape.size() == 2) HF_TRY(check_range(*found));
        return found;
    }

    // All threads read the file, each in parts of its own.
    base::Result<> check_and_hash(const Tensor& tensor) {
        const TensorParts parts(tensor.type, tensor.bytes);
        std::vector<base::Hash128> hashes(parts.count());
        std::vector<std::optional<std::size_t>> bad(parts.count());
        for (std::uint32_t first = 0; first < parts.count(); first += parts_together) {
            const std::uint32_t count = std::min(parts_together, parts.count() - first);
            const std::size_t bytes = parts.bytes(first, count).size();
            tools_->pool.run(count, bytes, [&](std::uint32_t task) {
                const std::uint32_t part = first + task;
                const auto own = parts.bytes(part, 1);
                map_pages(own);
                hashes[part] = base::hash128(own);
                const std::size_t elements = parts.elements(part);
                const std::size_t at = tensor::find_not_finite(tensor.type, own.data(), elements);
                if (at != elements) bad[part] = parts.first_element(part) + at;
            });
            tools_->read_ahead.used(bytes);
        }
        for (const auto& element : bad)
            if (element)
                return base::fail(Code::corrupt,
                                  "{}: tensor \"{}\": element {} is not a finite number",
                                  tensor.file, tensor.name, *element);
        fingerprint_.add(tensor.name, tensor.type, tensor.bytes.size(), hashes);
        return {};
    }

    // The types to convert to have numbers or scales in 16 bits, which end at 65504.
    base::Result<> check_range(const Tensor& tensor) {
        constexpr float largest = 65'504.0F;
        const bool narrows = options_.weights && *options_.weights != DataType::f32 &&
                             *options_.weights != DataType::bf16;
        if (!narrows || tensor.type == *options_.weights || tensor.type == DataType::f16) return {};
        const TensorParts parts(tensor.type, tensor.bytes);
        std::vector<std::optional<std::size_t>> bad(parts.count());
        tools_->pool.run(parts.count(), tensor.bytes.size(), [&](std::uint32_t part) {
            std::vector<float> values(parts.elements(part));
            tensor::dequantize(tensor.type, parts.bytes(part, 1).data(), values);
            const auto found =
                std::ranges::find_if(values, [](float value) { return std::abs(value) > largest; });
            if (found != values.end())
                bad[part] =
                    parts.first_element(part) + static_cast<std::size_t>(found - values.begin());
        });
        for (const auto& element : bad)
            if (element)
                return base::fail(
                    Code::invalid, "{}: tensor \"{}\": element {} is too large for weights of {}",
                    tensor.file, tensor.name, *element, tensor::name(*options_.weights));
        return {};
    }

    // One call instead of a fault for every few pages. Where it fails, the faults come.
    static void map_pages(std::span<const std::byte> bytes) {
#ifdef MADV_POPULATE_READ
        tensor::advise(bytes, MADV_POPULATE_READ);
#endif
    }

    base::Result<std::vector<float>> vector(const std::string& name, std::uint32_t size) {
        HF_TRY_ASSIGN(const Tensor* const found, get(name, {size}));
        std::vector<float> values(size);
        bytes_ += size * sizeof(float);
        if (tools_ != nullptr) tensor::dequantize(found->type, found->bytes.data(), values);
        return values;
    }

    // A matrix of `type` whose rows stand where `locate` says.
    base::Result<cpu::PackedMatrix> pack(DataType type, std::uint32_t outputs, std::uint32_t inputs,
                                         const Locate& locate) {
        const std::size_t needed = cpu::PackedMatrix::needed_bytes(type, outputs, inputs);
        packed_bytes_[static_cast<std::size_t>(type)] += needed;
        bytes_ += cpu::Memory::backed_bytes(needed);
        if (tools_ == nullptr) return cpu::PackedMatrix();
        HF_TRY_ASSIGN(auto packed,
                      cpu::PackedMatrix::reserve(type, outputs, inputs, numerics(), &tools_->pool));
        fingerprint_.add_matrix(type);
        packed.fill(tools_->pool, [&](std::uint32_t output) {
            const Place place = locate(output);
            return cpu::SourceRow{place.tensor->type, place.bytes()};
        });
        return packed;
    }

    base::Result<cpu::PackedMatrix> matrix(const std::string& name, std::uint32_t outputs,
                                           std::uint32_t inputs,
                                           std::optional<DataType> type = std::nullopt) {
        HF_TRY_ASSIGN(const Tensor* const found, get(name, {outputs, inputs}));
        return pack(type.value_or(kept_type(found->type, inputs)), outputs, inputs,
                    [&](std::uint32_t output) { return Place{found, output}; });
    }

    // When the head is tied to the embedding, its packed matrix serves as both.
    base::Result<> load_embedding() {
        const Config& config = weights_.config;
        if (!config.tied_head) {
            HF_TRY_ASSIGN(const Tensor* const found,
                          get(embedding_name, {config.vocab, config.hidden}));
            HF_TRY(copy_embedding(*found));
        }
        report();
        return {};
    }

    base::Result<> copy_embedding(const Tensor& tensor) {
        const DataType type = head_type_.value_or(tensor.type);
        const std::uint32_t hidden = weights_.config.hidden, vocab = weights_.config.vocab;
        const std::size_t row = tensor::bytes_of(type, hidden);
        weights_.embedding_type = type;
        bytes_ += cpu::Memory::backed_bytes(row * vocab);
        if (tools_ == nullptr) return {};
        HF_TRY_ASSIGN(weights_.embedding,
                      cpu::Memory::reserve(row * vocab, "the embedding", &tools_->pool));
        fingerprint_.add_matrix(type);
        constexpr std::uint32_t rows_per_task = 64;
        const std::uint32_t tasks = (vocab + rows_per_task - 1) / rows_per_task;
        tools_->pool.run(tasks, std::uint64_t{vocab} * hidden, [&](std::uint32_t task) {
            std::vector<float> values(hidden);
            const std::uint32_t end = std::min(vocab, (task + 1) * rows_per_task);
            for (std::uint32_t i = task * rows_per_task; i < end; ++i) {
                const std::byte* const from = Place{&tensor, i}.bytes();
                std::byte* const to = weights_.embedding.data() + i * row;
                if (type == tensor.type) {
                    std::memcpy(to, from, row);
                } else {
                    tensor::dequantize(tensor.type, from, values);
                    tensor::quantize(type, values, to);
                }
            }
        });
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

    // The place of row `row` of queries or keys, in transformers' order of rows.
    Place head_row(const Tensor& tensor, std::uint32_t row) const {
        if (!checkpoint_.has_interleaved_heads()) return {&tensor, row};
        const std::uint32_t dim = weights_.config.head_dim, in_head = row % dim;
        const std::uint32_t interleaved =
            in_head < dim / 2 ? 2 * in_head : 2 * (in_head - dim / 2) + 1;
        return {&tensor, row - in_head + interleaved};
    }

    base::Result<> load_qkv(const std::string& prefix, Layer& layer) {
        const Config& config = weights_.config;
        std::vector<Place> rows;  // of the parts that have one type so far
        DataType type = DataType::other;
        const auto finish = [&]() -> base::Result<> {
            HF_TRY_ASSIGN(auto packed,
                          pack(type, static_cast<std::uint32_t>(rows.size()), config.hidden,
                               [&](std::uint32_t output) { return rows[output]; }));
            layer.qkv.push_back(std::move(packed));
            rows.clear();
            return {};
        };
        for (const char part : {'q', 'k', 'v'}) {
            const std::uint32_t outputs =
                (part == 'q' ? config.heads : config.kv_heads) * config.head_dim;
            HF_TRY_ASSIGN(
                const Tensor* const weight,
                get(fmt::format("{}{}_proj.weight", prefix, part), {outputs, config.hidden}));
            HF_TRY(add_bias(fmt::format("{}{}_proj.bias", prefix, part), part, outputs, layer));
            const DataType own = kept_type(weight->type, config.hidden);
            if (!rows.empty() && own != type) HF_TRY(finish());
            type = own;
            for (std::uint32_t i = 0; i < outputs; ++i)
                rows.push_back(part == 'v' ? Place{weight, i} : head_row(*weight, i));
        }
        return finish();
    }

    base::Result<> add_bias(const std::string& name, char part, std::uint32_t outputs,
                            Layer& layer) {
        if (!weights_.config.qkv_bias) return {};
        HF_TRY_ASSIGN(const std::vector<float> bias, vector(name, outputs));
        for (std::uint32_t i = 0; i < outputs; ++i)
            layer.qkv_bias.push_back(bias[part == 'v' ? i : head_row({}, i).row]);
        return {};
    }

    base::Result<> load_gate_up(const std::string& prefix, Layer& layer) {
        const Config& config = weights_.config;
        HF_TRY_ASSIGN(const Tensor* const gate,
                      get(prefix + "gate_proj.weight", {config.ffn, config.hidden}));
        HF_TRY_ASSIGN(const Tensor* const up,
                      get(prefix + "up_proj.weight", {config.ffn, config.hidden}));
        const DataType type = kept_type(better_of(gate->type, up->type), config.hidden);
        HF_TRY_ASSIGN(
            layer.gate_up, pack(type, 2 * config.ffn, config.hidden, [&](std::uint32_t output) {
                const std::uint32_t in_panel = output % cpu::panel_outputs;
                return Place{in_panel < half_panel ? gate : up,
                             output / cpu::panel_outputs * half_panel + in_panel % half_panel};
            }));
        return {};
    }

    // One matrix has one type. The one with more bits loses nothing of the other that matters;
    // bf16 and f16 have as many bits, and float32 holds both.
    static DataType better_of(DataType a, DataType b) {
        const auto bits = [](DataType type) { return tensor::bytes_of(type, 256) * 8; };
        if (a == b) return a;
        if (bits(a) == bits(b)) return DataType::f32;
        return bits(a) > bits(b) ? a : b;
    }

    const tensor::Checkpoint& checkpoint_;
    const LoadOptions& options_;
    Tools* tools_;
    Fingerprint fingerprint_;
    Weights weights_;
    std::optional<DataType> head_type_;
    std::size_t bytes_ = 0;
    std::vector<std::span<const std::byte>> reads_;
    std::array<std::size_t, static_cast<std::size_t>(DataType::other)> packed_bytes_{};  // by type
    std::uint32_t steps_ = 0, steps_done_ = 0;
};

}  // namespace

DataType head_type(DataType layers, std::uint32_t hidden) {
    constexpr std::size_t six_bits = tensor::bytes_of(DataType::q6_k, 256);
    if (tensor::bytes_of(layers, 256) >= six_bits) return tensor::fitting_type(layers, hidden);
    return tensor::fitting_type(DataType::q6_k, hidden);
}

base::Result<std::size_t> needed_weight_bytes(const tensor::Checkpoint& checkpoint,
                                              const Config& config, const LoadOptions& options) {
    Loader loader(checkpoint, config, options, nullptr);
    HF_TRY_ASSIGN([[maybe_unused]] const Weights none, loader.load());
    return loader.bytes();
}

base::Result<Weights> load_weights(const tensor::Checkpoint& checkpoint, const Config& config,
                                   const LoadOptions& options, cores::Pool& pool) {
    Loader reader(checkpoint, config, options, nullptr);
    HF_TRY_ASSIGN([[maybe_unused]] const Weights none, reader.load());
    tensor::ReadAhead read_ahead(reader.take_reads());
    Tools tools{pool, read_ahead};
    return Loader(checkpoint, config, options, &tools).load();
}

}  // namespace holdfast::model
