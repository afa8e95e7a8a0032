// The arithmetic of a transformer on one thread. Kernels know nothing of threads: callers cut the
// work into parts and may run the parts anywhere, in any order.
//
// Numerics ("portable-1"): every sum has one order that all instruction sets follow. An output of a
// linear layer is one chain of fused multiply-adds from +0 over the inputs in ascending order, in
// float32; the bias is added after it, rounded on its own. With quantized weights, activations are
// quantized too, in groups of neighbouring inputs of a row: 32 for Q8_0 and Q6_K; 256, the last
// group of a row maybe fewer, for Q4_0, Q4_K and Q5_K, whose own rounding is ten times coarser.
// Scale = largest magnitude / 127, quants = x * (127 / largest magnitude) rounded once, to nearest
// even. The products of the quants of 32 inputs, a block, are summed exactly, in integers. Then, in
// float32, block by block in ascending order:
//   partial = dot * weight scale                        first block of a group, else
//   partial = fma(dot, weight scale, partial)           Q6_K: inputs 16..31 of its block as well
//   partial = fma(-minimum, sum of quants, partial)     Q4_K, Q5_K
//   total = fma(partial, scale, total)                  after the group's last block; from +0
// where weight scale (and minimum) of a K type are the product of its two factors. Attention walks
// the positions in chunks of 128 that begin at multiples of 128, with one running maximum (see
// attention below). Whatever a row computes never depends on how many rows are computed with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "inference/backend/cpu/isa.h"
#include "inference/tensor/data_type.h"
#include "inference/tensor/kv_type.h"

namespace holdfast::cpu {

inline constexpr std::uint32_t panel_outputs = 32;     // outputs side by side in packed weights
inline constexpr std::uint32_t key_block_tokens = 16;  // tokens side by side in packed keys
inline constexpr std::uint32_t head_dim_max = 256;

// How rows of activations are cut into register tiles: into as few tiles of at most `tile_max` rows
// as possible, of sizes that differ by at most one.
struct Tiling {
    std::uint32_t rows = 0;
    std::uint32_t tile_max = 1;
    // Always inlined, because files compiled for different instruction sets share it.
    [[gnu::always_inline]] std::uint32_t tiles() const { return (rows + tile_max - 1) / tile_max; }
    [[gnu::always_inline]] std::uint32_t begin(std::uint32_t tile) const {
        return static_cast<std::uint32_t>(std::uint64_t{tile} * rows / tiles());
    }
};

// Numerics profiles. A profile's name changes whenever the bits of any output may change.
enum class Numerics : std::uint8_t {
    portable,  // the order above, the same bits on all instruction sets
    bf16dot,   // native, bf16 weights: bf16 dot products, the same bits wherever they exist
    amx,       // native, bf16 weights: the bf16 products of AMX tiles, likewise
};
constexpr std::string_view name(Numerics numerics) {
    constexpr std::string_view names[] = {"portable-1", "native-bf16dot-1", "native-amx-1"};
    return names[static_cast<std::size_t>(numerics)];
}
bool has_numerics(Numerics numerics);  // by this processor and operating system
// The fastest that this machine has beside portable ones; bf16dot if it has none.
Numerics native_numerics();

// 32 neighbouring inputs of a row, quantized.
struct ActivationBlock {
    std::int32_t words[8];   // four quants each, the first in the lowest byte
    float scale;             // of the quants
    float sum;               // of the quants
    std::int32_t starts[2];  // what takes the offset out of the weights' quants: see QuantLayout
};

// Where a block of a row stands: [groups][rows][blocks of a group], where a group is the blocks
// that share a scale; the last group of a row has room for as many. Always inlined, because files
// compiled for different instruction sets share it.
[[gnu::always_inline]] constexpr std::size_t activation_index(std::uint32_t group_blocks,
                                                              std::uint32_t block, std::size_t row,
                                                              std::size_t rows) {
    return (block / group_blocks * rows + row) * group_blocks + block % group_blocks;
}

// What a linear layer does with its sums.
enum class Epilogue {
    store,   // y = sum, or y = sum + bias
    add,     // y = y + sum
    swiglu,  // y[i] = silu(sum[i]) * sum[16 + i] within a panel: 16 outputs per panel
};

// A linear layer on packed weights (packed.h) and packed activations (pack_rows; for quantized
// weights, quantize_rows).
struct LinearJob {
    const std::byte* panels = nullptr;
    tensor::DataType type = tensor::DataType::bf16;
    std::uint32_t inputs = 0;
    std::uint32_t outputs = 0;  // without padding; with swiglu: gates and ups together
    Tiling tiling;
    const float* x = nullptr;
    const ActivationBlock* blocks = nullptr;  // instead of x with quantized weights
    float* y = nullptr;                       // row-major
    std::size_t y_stride = 0;                 // floats
    const float* bias = nullptr;
    Epilogue epilogue = Epilogue::store;
};

// The blocks of one layer, from block 0 on. In a block every key head has its place: the keys as
// [head_dim][16 tokens], the values as [16 tokens][head_dim]. With q8 the 16 scales stand before
// them.
struct KvLayer {
    tensor::KvType type = tensor::KvType::f32;
    const std::byte* keys = nullptr;
    const std::byte* values = nullptr;
    std::size_t block_stride = 0;  // bytes from one block to the next, in keys and in values
    std::size_t head_stride = 0;   // bytes from one key head to the next within a block
};
inline constexpr std::size_t kv_scale_bytes = key_block_tokens * sizeof(float);

// Causal attention of the consecutive positions of one sequence over everything before them.
struct AttentionJob {
    KvLayer kept;
    const std::uint32_t* blocks = nullptr;  // of the sequence, from position 0 on
    std::uint32_t position = 0;             // of the first row
    std::uint32_t heads = 0, kv_heads = 0, head_dim = 0;
    float scale = 1.0F;
    const float* queries = nullptr;  // [row][query_stride], heads side by side
    std::size_t query_stride = 0;
    float* out = nullptr;  // [row][out_stride]
    std::size_t out_stride = 0;
};

// One table per instruction set. All pointers to activations are 4-byte aligned at least.
struct Kernels {
    Isa isa = Isa::scalar;
    std::uint32_t tile_rows_max = 1;  // most rows of a register tile

    // Rows [tiling.begin(tile), tiling.begin(tile + 1)) of x, transposed to [input][row], go to
    // packed + tiling.begin(tile) * inputs.
    void (*pack_rows)(const float* x, std::size_t stride, std::uint32_t inputs,
                      const Tiling& tiling, std::uint32_t tile, float* packed);

    // Rows [row_begin, row_end) of x, quantized for weights of `type`, go to their places among
    // blocks: see activation_index().
    void (*quantize_rows)(const float* x, std::size_t stride, std::uint32_t inputs,
                          tensor::DataType type, std::uint32_t rows, std::uint32_t row_begin,
                          std::uint32_t row_end, ActivationBlock* blocks);

    // Tiles [tile_begin, tile_end) of panels [panel_begin, panel_end).
    void (*linear)(const LinearJob& job, std::uint32_t tile_begin, std::uint32_t tile_end,
                   std::uint32_t panel_begin, std::uint32_t panel_end);

    // y = x / sqrt(mean(x^2) + epsilon) * weight. The squares are summed in 16 strided chains that
    // are then halved: i with i + 8, + 4, + 2, + 1. size is a multiple of 16.
    void (*rms_norm)(const float* x, const float* weight, std::uint32_t size, float epsilon,
                     float* y);

    // Queries i in [begin, end), end - begin <= tile_rows_max, of one key head: query i is row
    // i / group, head kv_head * group + i % group, where group = heads / kv_heads. Per chunk of 128
    // positions: scores are chains over head_dim; the maximum is updated; old sums are multiplied
    // by exp(old maximum - new maximum) when it grew; weights exp(score - maximum) are summed in 16
    // strided chains, values in one chain by ascending position. With q8 a chain runs over the
    // 8-bit numbers; a score is multiplied by its key's scale after its chain, and a weight by its
    // value's scale before the chain of values (not in the sum of weights). head_dim is a multiple
    // of 32.
    void (*attention)(const AttentionJob& job, std::uint32_t kv_head, std::uint32_t begin,
                      std::uint32_t end);

    void (*exponential)(const float* x, std::uint32_t size, float* y);  // exact to 2 ulp
};

const Kernels& kernels(Isa isa);

// Kernels for native numerics: their LinearJob has packed bf16 weights for native numerics, and
// activations from their own pack_rows, which rounds them to bf16 (to nearest even). They write
// them in rows of whole blocks of 32 inputs, and in all as much as the float32 rows would take.
const Kernels& native_kernels(Numerics numerics);  // LinearJob::inputs counts pairs of inputs

// The tables behind kernels(), one file each.
extern const Kernels scalar_kernels;
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
extern const Kernels vnni_kernels;
extern const Kernels bf16_kernels;
extern const Kernels amx_kernels;

}  // namespace holdfast::cpu
