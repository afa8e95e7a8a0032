#include "inference/backend/cpu/ops.h"

#include <algorithm>

#include "common/base/assert.h"
#include "inference/backend/cpu/quantized_layout.h"

namespace holdfast::cpu {
namespace {

// Tasks per thread: enough that threads of unequal speed end together.
constexpr std::uint32_t tasks_per_thread = 8;

constexpr std::uint32_t divide_up(std::uint32_t a, std::uint32_t b) { return (a + b - 1) / b; }

// At most: blocks that share a scale have room for a whole group.
constexpr std::size_t activation_blocks_bytes(std::uint32_t rows, std::uint32_t inputs) {
    constexpr std::uint32_t group_blocks = quant_layout(tensor::DataType::q4_0).activation_blocks;
    const std::uint32_t groups = divide_up(inputs, block_inputs * group_blocks);
    return std::size_t{rows} * groups * group_blocks * sizeof(ActivationBlock);
}

}  // namespace

std::size_t row_stride(std::uint32_t columns) {
    const std::size_t lines = divide_up(columns, panel_outputs) * std::size_t{2};
    return (lines + 1) * 16;
}

base::Result<std::unique_ptr<Ops>> Ops::make(Isa isa, std::uint32_t threads, std::uint32_t rows_max,
                                             std::uint32_t inputs_max, cores::Placement placement) {
    HF_TRY_ASSIGN(std::unique_ptr<cores::Pool> pool,
                  cores::Pool::make(threads, std::move(placement)));
    std::unique_ptr<Ops> ops(new Ops(kernels(isa), std::move(pool)));
    const std::size_t numbers = divide_up(inputs_max, block_inputs) * std::size_t{block_inputs};
    const std::size_t row =
        std::max(numbers, activation_blocks_bytes(1, inputs_max) / sizeof(float));
    HF_TRY_ASSIGN(ops->packed_,
                  Floats::reserve(rows_max * row, "packed activations", &ops->pool()));
    return ops;
}

void Ops::pack(const PackedMatrix& weights, Rows x, const Kernels& kernels, LinearJob& job) {
    const Tiling& tiling = job.tiling;
    const std::uint32_t inputs = weights.inputs();
    HF_ASSERT(std::size_t{tiling.rows} * inputs <= packed_.size());
    const std::uint64_t operations = std::uint64_t{tiling.rows} * inputs * 16;
    if (tensor::is_quantized(job.type)) {
        HF_ASSERT(activation_blocks_bytes(tiling.rows, inputs) <= packed_.size() * sizeof(float));
        auto* const blocks = reinterpret_cast<ActivationBlock*>(packed_.data());
        job.blocks = blocks;
        pool_->run(tiling.tiles(), operations, [&](std::uint32_t tile) {
            kernels.quantize_rows(x.data, x.stride, inputs, job.type, tiling.rows,
                                  tiling.begin(tile), tiling.begin(tile + 1), blocks);
        });
    } else if (tiling.rows == 1 && weights.numerics() == Numerics::portable) {
        job.x = x.data;
    } else {
        job.x = packed_.data();
        pool_->run(tiling.tiles(), operations, [&](std::uint32_t tile) {
            kernels.pack_rows(x.data, x.stride, inputs, tiling, tile, packed_.data());
        });
    }
}

void Ops::linear(const PackedMatrix& weights, Rows x, std::uint32_t rows, const Sink& sink) {
    if (rows == 0) return;
    const bool native = weights.numerics() != Numerics::portable;
    const Kernels& kernels = native ? native_kernels(weights.numerics()) : kernels_;
    LinearJob job{.panels = weights.data(),
                  .type = weights.type(),
                  .inputs = native ? weights.inputs() / 2 : weights.inputs(),
                  .outputs = weights.outputs(),
                  .tiling = {.rows = rows, .tile_max = kernels.tile_rows_max},
                  .y = sink.y.data,
                  .y_stride = sink.y.stride,
                  .bias = sink.bias,
                  .epilogue = sink.epilogue};
    pack(weights, x, kernels, job);
    const std::uint32_t tiles = job.tiling.tiles();
    const std::uint32_t tile_parts = divide_up(tiles, tiles_per_part(weights.type()));
    const std::uint32_t wanted = pool_->threads() * tasks_per_thread;
    const std::uint32_t panel_parts =
        std::min(weights.panels(), std::max(wanted, divide_up(wanted, tile_parts)));
    const std::uint64_t operations = std::uint64_t{rows} * weights.outputs() * weights.inputs();
    // Tile parts outermost: a thread takes some rows through its whole share of the weights.
    pool_->run(tile_parts * panel_parts, operations, [&](std::uint32_t task) {
        const std::uint64_t tile_part = task / panel_parts, panel_part = task % panel_parts;
        const auto share = [](std::uint64_t part, std::uint64_t parts, std::uint64_t whole) {
            return static_cast<std::uint32_t>(part * whole / parts);
        };
        kernels.linear(job, share(tile_part, tile_parts, tiles),
                       share(tile_part + 1, tile_parts, tiles),
                       share(panel_part, panel_parts, weights.panels()),
                       share(panel_part + 1, panel_parts, weights.panels()));
    });
}

void Ops::rms_norm(Rows x, std::uint32_t rows, std::span<const float> weight, float epsilon,
                   Rows y) {
    const auto size = static_cast<std::uint32_t>(weight.size());
    pool_->run(rows, std::uint64_t{rows} * size * 4, [&](std::uint32_t row) {
        kernels_.rms_norm(x.row(row), weight.data(), size, epsilon, y.row(row));
    });
}

// Queries that share a key head read its keys and values once when they are in one task. A few
// sequences on many threads are the exception: there, more tasks are worth more than that.
std::uint32_t Ops::queries_per_task(std::span<const AttentionPart> parts) const {
    std::uint32_t queries = 0;
    for (const AttentionPart& part : parts) queries += part.rows * part.job.heads;
    return std::clamp(queries / pool_->threads(), 1U, kernels_.tile_rows_max);
}

void Ops::attention(std::span<const AttentionPart> parts, std::span<AttentionTask> tasks) {
    std::uint32_t count = 0;
    std::uint64_t operations = 0;
    const std::uint32_t tile_max = queries_per_task(parts);
    for (std::uint32_t part = 0; part < parts.size(); ++part) {
        const AttentionJob& job = parts[part].job;
        const std::uint32_t queries = parts[part].rows * (job.heads / job.kv_heads);
        const Tiling tiling{.rows = queries, .tile_max = tile_max};
        for (std::uint32_t head = 0; head < job.kv_heads; ++head)
            for (std::uint32_t tile = 0; tile < tiling.tiles(); ++tile)
                tasks[count++] = {part, head, tiling.begin(tile), tiling.begin(tile + 1)};
        operations += std::uint64_t{2} * parts[part].rows * job.heads * job.head_dim *
                      (job.position + parts[part].rows);
    }
    HF_ASSERT(count <= tasks.size());
    pool_->run(count, operations, [&](std::uint32_t index) {
        const AttentionTask& task = tasks[index];
        kernels_.attention(parts[task.part].job, task.kv_head, task.begin, task.end);
    });
}

}  // namespace holdfast::cpu
