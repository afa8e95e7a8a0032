// Native numerics on AMX. A sum is a chain over blocks of 32 inputs in ascending order; what is
// added within a block, and how, is the instruction's own (TDPBF16PS of Intel's manual).
#include "inference/backend/cpu/vectors_avx512.h"

// After what it is made of.
#include "inference/backend/cpu/kernels_body.h"
#include "inference/backend/cpu/tiles_amx.h"

namespace holdfast::cpu {
namespace {

constexpr std::uint32_t block_pairs = 16;  // pairs of inputs in a tile: 32 inputs
constexpr std::size_t panel_pair_bytes = panel_outputs * std::size_t{4};
constexpr std::size_t panel_block_bytes = block_pairs * panel_pair_bytes;
constexpr std::uint32_t blocks_per_pass = 16;  // of a panel, kept in the first cache
constexpr std::uint32_t blocks_ahead = 3;      // activations on their way into the first cache
constexpr std::size_t weight_bytes_ahead = 2'048;
constexpr std::uint32_t panels_per_group = 8;  // that share a pass over the activations
constexpr std::uint32_t tiles_per_group = tiles_per_part_max;
constexpr std::size_t tile_sums = tile_height_max * std::size_t{panel_outputs};

// Tiles of rows have one height in memory, that of the tallest: the others end with a row that is
// whatever was there and goes nowhere.
std::uint32_t tile_height(const Tiling& tiling) {
    return (tiling.rows + tiling.tiles() - 1) / tiling.tiles();
}
std::uint32_t blocks_of(std::uint32_t pairs) { return (pairs + block_pairs - 1) / block_pairs; }

// As pack_rows, but rounded to bf16, as [block][row][32 inputs] in each tile. The last block is
// filled up with zeros.
void pack_blocks(const float* x, std::size_t stride, std::uint32_t inputs, const Tiling& tiling,
                 std::uint32_t tile, float* packed) {
    const std::uint32_t begin = tiling.begin(tile), rows = tiling.begin(tile + 1) - begin;
    const std::uint32_t height = tile_height(tiling), blocks = blocks_of(inputs / 2);
    std::byte* const to = reinterpret_cast<std::byte*>(packed) +
                          std::size_t{tile} * blocks * height * tile_width_bytes;
    for (std::uint32_t row = 0; row < rows; ++row)
        for (std::uint32_t block = 0; block < blocks; ++block) {
            const std::uint32_t k = block * block_inputs;
            const std::uint32_t left = inputs - k < block_inputs ? inputs - k : block_inputs;
            const auto mask = static_cast<std::uint32_t>((std::uint64_t{1} << left) - 1);
            const float* const from = x + (begin + row) * stride + k;
            const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), from);
            const __m512 high =
                _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), from + 16);
            const __m512bh rounded = _mm512_cvtne2ps_pbh(high, low);
            __builtin_memcpy(to + (std::size_t{block} * height + row) * tile_width_bytes, &rounded,
                             sizeof rounded);
        }
}

// The tile registers: sums of a first and a second tile of rows, for outputs 0..15 and 16..31 of a
// panel; activations of both; weights of both halves.
enum : std::uint8_t { sums_00, sums_01, sums_10, sums_11, rows_0, rows_1, outputs_0, outputs_1 };

TileShapes shapes(std::uint32_t height) {
    TileShapes all;
    for (const int tile : {sums_00, sums_01, sums_10, sums_11, rows_0, rows_1})
        all.set(tile, height, tile_width_bytes);
    for (const int tile : {outputs_0, outputs_1}) all.set(tile, block_pairs, tile_width_bytes);
    return all;
}

// Adds the products of some blocks of inputs to the sums of one or two tiles of rows.
struct TileProduct {
    const std::byte* x;        // of the first block and the first tile
    std::size_t x_tile_bytes;  // from one tile to the next
    std::size_t x_block_bytes;
    const std::byte* weights;
    std::uint32_t blocks;
    float* sums;
    bool from_zero;
    bool weights_are_far;  // no other tile was multiplied with them before

    template <int Tiles>
    HF_INLINE void run() const {
        begin<Tiles>();
        for (std::uint32_t block = 0; block < blocks; ++block) {
            const std::byte* const w = weights + block * panel_block_bytes;
            const std::byte* const rows = x + block * x_block_bytes;
            prefetch(rows + blocks_ahead * x_block_bytes, x_block_bytes);
            if constexpr (Tiles == 2)
                prefetch(rows + x_tile_bytes + blocks_ahead * x_block_bytes, x_block_bytes);
            if (weights_are_far) prefetch(w + weight_bytes_ahead, panel_block_bytes);
            load_tile<outputs_0>(w, panel_pair_bytes);
            load_tile<rows_0>(rows, tile_width_bytes);
            multiply_bf16<sums_00, rows_0, outputs_0>();
            load_tile<outputs_1>(w + tile_width_bytes, panel_pair_bytes);
            multiply_bf16<sums_01, rows_0, outputs_1>();
            if constexpr (Tiles == 2) {
                load_tile<rows_1>(rows + x_tile_bytes, tile_width_bytes);
                multiply_bf16<sums_10, rows_1, outputs_0>();
                multiply_bf16<sums_11, rows_1, outputs_1>();
            }
        }
        store_tile<sums_00>(sums, panel_pair_bytes);
        store_tile<sums_01>(sums + 16, panel_pair_bytes);
        if constexpr (Tiles == 2) {
            store_tile<sums_10>(sums + tile_sums, panel_pair_bytes);
            store_tile<sums_11>(sums + tile_sums + 16, panel_pair_bytes);
        }
    }

private:
    template <int Tiles>
    HF_INLINE void begin() const {
        if (from_zero) {
            zero_tile<sums_00>();
            zero_tile<sums_01>();
            zero_tile<sums_10>();
            zero_tile<sums_11>();
            return;
        }
        load_tile<sums_00>(sums, panel_pair_bytes);
        load_tile<sums_01>(sums + 16, panel_pair_bytes);
        if constexpr (Tiles == 2) {
            load_tile<sums_10>(sums + tile_sums, panel_pair_bytes);
            load_tile<sums_11>(sums + tile_sums + 16, panel_pair_bytes);
        }
    }
};

// Some tiles of rows by some panels.
struct TileGroup {
    const LinearJob& job;
    std::uint32_t tile_begin, tile_end, panel_begin, panel_end;
    float* sums;  // [panel][tile][16 rows][32 outputs]

    void run() const {
        // One or two tiles read each weight once, in the order of memory.
        const std::uint32_t step = tile_end - tile_begin <= 2 ? whole_blocks() : blocks_per_pass;
        for (std::uint32_t block = 0; block < whole_blocks(); block += step)
            for (std::uint32_t panel = panel_begin; panel < panel_end; ++panel) {
                const std::uint32_t left = whole_blocks() - block;
                add(panel, weights_of(panel) + block * panel_block_bytes, block,
                    left < step ? left : step);
            }
        if (job.inputs % block_pairs != 0) add_rest();
        for (std::uint32_t panel = panel_begin; panel < panel_end; ++panel)
            for (std::uint32_t tile = tile_begin; tile < tile_end; ++tile)
                store_rows(job, sums_of(panel, tile), job.tiling.begin(tile),
                           job.tiling.begin(tile + 1), panel);
    }

private:
    std::uint32_t whole_blocks() const { return job.inputs / block_pairs; }
    const std::byte* weights_of(std::uint32_t panel) const {
        return job.panels + std::size_t{panel} * job.inputs * panel_pair_bytes;
    }
    float* sums_of(std::uint32_t panel, std::uint32_t tile) const {
        return sums + ((panel - panel_begin) * std::size_t{tiles_per_group} + tile - tile_begin) *
                          tile_sums;
    }

    void add(std::uint32_t panel, const std::byte* weights, std::uint32_t block,
             std::uint32_t blocks) const {
        const std::size_t block_bytes = std::size_t{tile_height(job.tiling)} * tile_width_bytes;
        const std::size_t tile_bytes = blocks_of(job.inputs) * block_bytes;
        const auto* const x = reinterpret_cast<const std::byte*>(job.x);
        for (std::uint32_t tile = tile_begin; tile < tile_end; tile += 2) {
            const TileProduct product{x + tile * tile_bytes + block * block_bytes,
                                      tile_bytes,
                                      block_bytes,
                                      weights,
                                      blocks,
                                      sums_of(panel, tile),
                                      block == 0,
                                      tile == tile_begin};
            if (tile_end - tile == 1)
                product.run<1>();
            else
                product.run<2>();
        }
    }

    // The inputs after the last whole block, and zeros instead of what comes behind the panel.
    void add_rest() const {
        for (std::uint32_t panel = panel_begin; panel < panel_end; ++panel) {
            alignas(64) std::byte weights[panel_block_bytes] = {};
            __builtin_memcpy(weights, weights_of(panel) + whole_blocks() * panel_block_bytes,
                             job.inputs % block_pairs * panel_pair_bytes);
            add(panel, weights, whole_blocks(), 1);
        }
    }
};

void linear_tiles(const LinearJob& job, std::uint32_t tile_begin, std::uint32_t tile_end,
                  std::uint32_t panel_begin, std::uint32_t panel_end) {
    alignas(64) float sums[std::size_t{panels_per_group} * tiles_per_group * tile_sums];
    load_shapes(shapes(tile_height(job.tiling)));
    for (std::uint32_t tile = tile_begin; tile < tile_end; tile += tiles_per_group)
        for (std::uint32_t panel = panel_begin; panel < panel_end; panel += panels_per_group) {
            const std::uint32_t tiles = tile_end - tile, panels = panel_end - panel;
            TileGroup{job,
                      tile,
                      tile + (tiles < tiles_per_group ? tiles : tiles_per_group),
                      panel,
                      panel + (panels < panels_per_group ? panels : panels_per_group),
                      sums}
                .run();
        }
    release_tiles();
}

constexpr Kernels make_amx_kernels() {
    Kernels table = make_kernels(Isa::vnni);
    table.tile_rows_max = tile_height_max;
    table.pack_rows = pack_blocks;
    table.linear = linear_tiles;
    return table;
}

}  // namespace

constinit const Kernels amx_kernels = make_amx_kernels();

}  // namespace holdfast::cpu
