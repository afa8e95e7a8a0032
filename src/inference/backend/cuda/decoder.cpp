#include "inference/backend/cuda/decoder.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/assert.h"
#include "inference/backend/cuda/call.h"

namespace holdfast::cuda {
namespace {

constexpr std::size_t staging_bytes = std::size_t{64} << 20;
constexpr std::uint32_t block_positions = 16, heads_of_group_max = 8, graph_tokens_max = 8;

base::Result<> check(const DecoderShape& shape, const DecoderLimits& limits) {
    const auto refuse = [](std::string_view what) {
        return base::fail(base::Code::invalid, "the CUDA backend cannot do this model: {}", what);
    };
    if (shape.layers == 0 || shape.vocab == 0 || shape.positions == 0 || limits.tokens == 0 ||
        limits.logits == 0 || limits.slices == 0 || limits.blocks == 0)
        return refuse("a size is 0");
    if (shape.head_dim != 32 && shape.head_dim != 64 && shape.head_dim != 128)
        return refuse("heads have neither 32, 64 nor 128 dimensions");
    if (shape.kv_heads == 0 || shape.heads % shape.kv_heads != 0 ||
        shape.heads / shape.kv_heads > heads_of_group_max)
        return refuse("more than 8 heads share keys and values");
    if (shape.hidden % 8 != 0 || shape.ffn % 8 != 0 || shape.hidden == 0 || shape.ffn == 0)
        return refuse("sizes of layers are no multiples of 8");
    return {};
}

}  // namespace

// Rows of a model's matrix are rows [first, first + rows) of the order from which `to` was packed.
struct Decoder::Place {
    DeviceMemory* to;
    MatrixShape shape;
    std::uint32_t half, first, rows;
};

Decoder::Decoder(const DecoderShape& shape, const DecoderLimits& limits)
    : shape_(shape),
      limits_(limits),
      cache_shape_{shape.kv_heads, shape.head_dim},
      capacity_(padded(limits.tokens, 64)) {}

MatrixShape Decoder::matrix_shape(Role role) const {
    const std::uint32_t wide = shape_.heads * shape_.head_dim;
    switch (role) {
        case Role::qkv:
            return {role, wide + 2 * shape_.kv_heads * shape_.head_dim, shape_.hidden};
        case Role::attention_output:
            return {role, shape_.hidden, wide};
        case Role::gate_up:
            return {role, 2 * shape_.ffn, shape_.hidden};
        case Role::down:
            return {role, shape_.hidden, shape_.ffn};
        case Role::head:
            break;
    }
    return {Role::head, shape_.vocab, shape_.hidden};
}

base::Result<Decoder> Decoder::reserve(const DecoderShape& shape, const DecoderLimits& limits) {
    HF_TRY(check(shape, limits));
    Decoder decoder(shape, limits);
    HF_TRY(decoder.reserve_all());
    return decoder;
}

base::Result<> Decoder::reserve_all() {
    const auto take = [](DeviceMemory& memory, std::size_t bytes) -> base::Result<> {
        HF_TRY_ASSIGN(memory, DeviceMemory::reserve(bytes));
        return {};
    };
    const std::size_t hidden = shape_.hidden;
    layers_.resize(shape_.layers);
    for (Layer& layer : layers_) {
        HF_TRY(take(layer.qkv, matrix_shape(Role::qkv).bytes()));
        HF_TRY(take(layer.output, matrix_shape(Role::attention_output).bytes()));
        HF_TRY(take(layer.gate_up, matrix_shape(Role::gate_up).bytes()));
        HF_TRY(take(layer.down, matrix_shape(Role::down).bytes()));
        if (shape_.bias) HF_TRY(take(layer.bias, matrix_shape(Role::qkv).rows * sizeof(float)));
        HF_TRY(take(layer.attention_norm, hidden * sizeof(float)));
        HF_TRY(take(layer.ffn_norm, hidden * sizeof(float)));
        HF_TRY(take(layer.cache, limits_.blocks * cache_shape_.block_bytes()));
    }
    HF_TRY(take(embedding_, std::size_t{shape_.vocab} * hidden * 2));
    HF_TRY(take(head_, matrix_shape(Role::head).bytes()));
    HF_TRY(take(last_norm_, hidden * sizeof(float)));
    HF_TRY(take(rotary_, std::size_t{shape_.positions} * shape_.head_dim * sizeof(float)));
    HF_TRY(take(staging_, staging_bytes));
    HF_TRY(take(h_, capacity_ * hidden * sizeof(float)));
    HF_TRY(take(x_, activation_bytes(capacity_, shape_.hidden)));
    HF_TRY(take(squares_, std::size_t{padded(shape_.hidden, 64) / 64} * capacity_ * sizeof(float)));
    const std::uint32_t wide = shape_.heads * shape_.head_dim;
    HF_TRY(take(queries_, std::size_t{capacity_} * wide * 2));
    HF_TRY(take(attention_, activation_bytes(capacity_, wide)));
    HF_TRY(take(swiglu_, activation_bytes(capacity_, shape_.ffn)));
    HF_TRY(take(logits_, std::size_t{limits_.logits} * shape_.vocab * sizeof(float)));
    HF_TRY(take(rows_, limits_.tokens * sizeof(Row)));
    const std::size_t table_max = (shape_.positions + block_positions - 1) / block_positions;
    HF_TRY(take(tables_, limits_.slices * table_max * sizeof(std::uint32_t)));
    HF_TRY(take(columns_, limits_.logits * sizeof(std::uint32_t)));
    const auto mirror = [](PinnedMemory& host, const DeviceMemory& device) -> base::Result<> {
        HF_TRY_ASSIGN(host, PinnedMemory::reserve(device.bytes()));
        return {};
    };
    HF_TRY(mirror(host_rows_, rows_));
    HF_TRY(mirror(host_tables_, tables_));
    HF_TRY(mirror(host_columns_, columns_));
    HF_TRY(mirror(host_logits_, logits_));
    return {};
}

Decoder::Place Decoder::place_of(Matrix matrix, std::uint32_t number) {
    const std::uint32_t queries = shape_.heads * shape_.head_dim;
    const std::uint32_t keys = shape_.kv_heads * shape_.head_dim, half = shape_.head_dim / 2;
    Layer& layer = layers_[number];
    switch (matrix) {
        case Matrix::query:
            return {&layer.qkv, matrix_shape(Role::qkv), half, 0, queries};
        case Matrix::key:
            return {&layer.qkv, matrix_shape(Role::qkv), half, queries, keys};
        case Matrix::value:
            return {&layer.qkv, matrix_shape(Role::qkv), half, queries + keys, keys};
        case Matrix::output:
            return {&layer.output, matrix_shape(Role::attention_output), 0, 0, shape_.hidden};
        case Matrix::gate:
            return {&layer.gate_up, matrix_shape(Role::gate_up), shape_.ffn, 0, shape_.ffn};
        case Matrix::up:
            return {&layer.gate_up, matrix_shape(Role::gate_up), shape_.ffn, shape_.ffn,
                    shape_.ffn};
        case Matrix::down:
            return {&layer.down, matrix_shape(Role::down), 0, 0, shape_.hidden};
        case Matrix::head:
            return {&head_, matrix_shape(Role::head), 0, 0, shape_.vocab};
        case Matrix::embedding:
            break;
    }
    return {&embedding_, {Role::head, shape_.vocab, shape_.hidden}, 0, 0, shape_.vocab};
}

base::Result<> Decoder::upload(Matrix matrix, std::uint32_t layer, std::uint32_t first,
                               std::span<const std::uint16_t> rows) {
    HF_ASSERT(layer < layers_.size());
    const Place place = place_of(matrix, layer);
    const std::uint32_t inputs = place.shape.inputs;
    HF_ASSERT(rows.size() % inputs == 0 && first <= place.rows &&
              rows.size() / inputs <= place.rows - first);
    if (matrix == Matrix::embedding)
        return embedding_.write(std::size_t{first} * inputs * 2, std::as_bytes(rows));
    const std::size_t piece = staging_bytes / 2 / inputs * inputs;
    for (std::size_t done = 0; done < rows.size(); done += piece) {
        const auto part = rows.subspan(done, std::min(piece, rows.size() - done));
        HF_TRY(staging_.write(0, std::as_bytes(part)));
        const auto row = static_cast<std::uint32_t>(done / inputs);
        HF_TRY(succeeded(
            launch(Pack{place.shape, place.half, place.first + first + row,
                        static_cast<std::uint32_t>(part.size() / inputs),
                        static_cast<const std::uint16_t*>(staging_.data()), place.to->data()},
                   nullptr),
            "packing weights"));
    }
    return {};
}

base::Result<> Decoder::upload(Vector vector, std::uint32_t number, std::span<const float> values) {
    HF_ASSERT(number < layers_.size());
    Layer& layer = layers_[number];
    const std::size_t queries = std::size_t{shape_.heads} * shape_.head_dim;
    const std::size_t keys = std::size_t{shape_.kv_heads} * shape_.head_dim;
    const auto write = [&](DeviceMemory& to, std::size_t first) {
        return to.write(first * sizeof(float), std::as_bytes(values));
    };
    switch (vector) {
        case Vector::attention_norm:
            return write(layer.attention_norm, 0);
        case Vector::ffn_norm:
            return write(layer.ffn_norm, 0);
        case Vector::query:
            return write(layer.bias, 0);
        case Vector::key:
            return write(layer.bias, queries);
        case Vector::value:
            return write(layer.bias, queries + keys);
        case Vector::last_norm:
            break;
    }
    return write(last_norm_, 0);
}

base::Result<> Decoder::upload_rotary(std::uint32_t first, std::span<const float> turns) {
    return rotary_.write(std::size_t{first} * shape_.head_dim * sizeof(float),
                         std::as_bytes(turns));
}

// --- A step
// ----------------------------------------------------------------------------------------

void Decoder::stage(const Slice& slice) {
    const auto size = static_cast<std::uint32_t>(slice.tokens.size());
    const std::uint32_t end = slice.position + size;
    const std::uint32_t blocks = (end + block_positions - 1) / block_positions;
    HF_ASSERT(end <= shape_.positions && slice.blocks.size() >= blocks && slice.logits <= size);
    HF_ASSERT(size <= limits_.tokens - tokens_ && slice.logits <= limits_.logits - columns_size_);
    const auto rows = host_rows_.values<Row>(limits_.tokens);
    const auto columns = host_columns_.values<std::uint32_t>(limits_.logits);
    for (std::uint32_t i = 0; i < size; ++i) {
        const std::int32_t token = slice.tokens[i];
        HF_ASSERT(token >= 0 && static_cast<std::uint32_t>(token) < shape_.vocab);
        if (i + slice.logits >= size) columns[columns_size_++] = tokens_;
        rows[tokens_++] = {token, slice.position + i, tables_size_};
    }
    const auto tables = host_tables_.values<std::uint32_t>(tables_size_ + blocks);
    for (const std::uint32_t block : slice.blocks.first(blocks)) {
        HF_ASSERT(block < limits_.blocks);
        tables[tables_size_++] = block;
    }
}

base::Result<> Decoder::stage(std::span<const Slice> slices) {
    HF_ASSERT(slices.size() <= limits_.slices);
    tokens_ = tables_size_ = columns_size_ = 0;
    for (const Slice& slice : slices) stage(slice);
    HF_TRY(rows_.write_later(std::as_bytes(host_rows_.values<Row>(tokens_))));
    HF_TRY(tables_.write_later(std::as_bytes(host_tables_.values<std::uint32_t>(tables_size_))));
    return columns_.write_later(std::as_bytes(host_columns_.values<std::uint32_t>(columns_size_)));
}

Rows Decoder::rows(std::uint32_t tokens) const {
    return {static_cast<const Row*>(rows_.data()),
            static_cast<const std::uint32_t*>(tables_.data()), tokens, capacity_};
}

Product Decoder::product(Role role, const DeviceMemory& weights, const DeviceMemory& x,
                         std::uint32_t columns) const {
    return {matrix_shape(role), weights.data(), x.data(), capacity_, columns, nullptr};
}

Residual Decoder::residual(const DeviceMemory& norm) const {
    return {static_cast<float*>(h_.data()), x_.data(), static_cast<float*>(squares_.data()),
            static_cast<const float*>(norm.data()), shape_.hidden};
}

Scale Decoder::scale() const {
    return {static_cast<const float*>(squares_.data()), shape_.hidden, shape_.epsilon};
}

Embed Decoder::embed(std::uint32_t tokens) const {
    return {rows(tokens), residual(layers_.front().attention_norm),
            static_cast<const std::uint16_t*>(embedding_.data())};
}

Qkv Decoder::qkv(std::uint32_t layer, std::uint32_t tokens) const {
    const Layer& of = layers_[layer];
    return {product(Role::qkv, of.qkv, x_, tokens),
            scale(),
            rows(tokens),
            cache_shape_,
            shape_.heads,
            static_cast<const float*>(of.bias.data()),
            static_cast<const float*>(rotary_.data()),
            static_cast<std::uint16_t*>(queries_.data()),
            static_cast<std::uint8_t*>(of.cache.data())};
}

Attention Decoder::attention(std::uint32_t layer, std::uint32_t tokens) const {
    constexpr double log2_e = 1.4426950408889634;
    return {rows(tokens),
            cache_shape_,
            shape_.heads,
            static_cast<float>(log2_e / std::sqrt(static_cast<double>(shape_.head_dim))),
            static_cast<const std::uint16_t*>(queries_.data()),
            static_cast<const std::uint8_t*>(layers_[layer].cache.data()),
            attention_.data()};
}

AddResidual Decoder::output(std::uint32_t layer, std::uint32_t tokens) const {
    return {product(Role::attention_output, layers_[layer].output, attention_, tokens),
            residual(layers_[layer].ffn_norm)};
}

SwiGlu Decoder::swiglu(std::uint32_t layer, std::uint32_t tokens) const {
    return {product(Role::gate_up, layers_[layer].gate_up, x_, tokens), scale(), swiglu_.data()};
}

AddResidual Decoder::down(std::uint32_t layer, std::uint32_t tokens) const {
    const DeviceMemory& next_norm =
        layer + 1 < layers_.size() ? layers_[layer + 1].attention_norm : last_norm_;
    return {product(Role::down, layers_[layer].down, swiglu_, tokens), residual(next_norm)};
}

Logits Decoder::logits(std::uint32_t columns) const {
    return {product(Role::head, head_, x_, columns), scale(), static_cast<float*>(logits_.data())};
}

base::Result<> Decoder::compute(std::uint32_t tokens) const {
    HF_TRY(succeeded(launch(embed(tokens), nullptr), "embedding"));
    for (std::uint32_t layer = 0; layer < layers_.size(); ++layer) {
        HF_TRY(succeeded(launch(qkv(layer, tokens), nullptr), "queries, keys and values"));
        HF_TRY(succeeded(launch(attention(layer, tokens), nullptr), "attention"));
        HF_TRY(succeeded(launch(output(layer, tokens), nullptr), "attention output"));
        HF_TRY(succeeded(launch(swiglu(layer, tokens), nullptr), "gate and up"));
        HF_TRY(succeeded(launch(down(layer, tokens), nullptr), "down"));
    }
    Logits head = logits(columns_size_);
    head.product.columns = static_cast<const std::uint32_t*>(columns_.data());
    return succeeded(launch(head, nullptr), "head");
}

base::Result<> Decoder::record_step(std::uint32_t tokens, Stream stream) const {
    HF_TRY(succeeded(launch(embed(tokens), stream), "embedding"));
    for (std::uint32_t layer = 0; layer < layers_.size(); ++layer) {
        Attention attended = attention(layer, tokens);
        attended.alone = true;
        HF_TRY(succeeded(hopper::launch(qkv(layer, tokens), stream), "queries, keys and values"));
        HF_TRY(succeeded(hopper::launch(attended, stream), "attention"));
        HF_TRY(succeeded(hopper::launch(output(layer, tokens), stream), "attention output"));
        HF_TRY(succeeded(hopper::launch(swiglu(layer, tokens), stream), "gate and up"));
        HF_TRY(succeeded(hopper::launch(down(layer, tokens), stream), "down"));
    }
    return succeeded(hopper::launch(logits(tokens), stream), "head");
}

base::Result<> Decoder::prepare() {
    int device = 0, major = 0;
    HF_TRY(succeeded(cudaGetDevice(&device), "asking for the device"));
    HF_TRY(succeeded(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
                     "asking for the compute capability"));
    if (major != 9) return {};
    const std::uint32_t most =
        std::min({graph_tokens_max, limits_.tokens, limits_.logits, limits_.slices});
    for (std::uint32_t tokens = 1; tokens <= most; ++tokens) {
        HF_TRY_ASSIGN(Graph graph,
                      Graph::record([&](Stream stream) { return record_step(tokens, stream); }));
        graphs_.push_back(std::move(graph));
    }
    return {};
}

base::Result<std::span<const float>> Decoder::forward(std::span<const Slice> slices) {
    HF_TRY(stage(slices));
    const bool token_each = std::ranges::all_of(
        slices, [](const Slice& slice) { return slice.tokens.size() == 1 && slice.logits == 1; });
    if (token_each && tokens_ > 0 && tokens_ <= graphs_.size())
        HF_TRY(graphs_[tokens_ - 1].launch());
    else
        HF_TRY(compute(tokens_));
    const auto logits = host_logits_.values<float>(std::size_t{columns_size_} * shape_.vocab);
    HF_TRY(logits_.read_later(std::as_writable_bytes(logits)));
    HF_TRY(finished("a step"));
    return logits;
}

}  // namespace holdfast::cuda
