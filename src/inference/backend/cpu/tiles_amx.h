// The tile registers of AMX, for the files that are compiled for them. A product takes as many
// cycles as the activations' tile has rows, and each row of it is computed on its own: what stands
// in one row never changes another.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holdfast::cpu {
namespace {

constexpr std::uint32_t tile_height_max = 16;  // rows of a tile register
constexpr std::uint32_t tile_width_bytes = 64;

// The memory form of LDTILECFG.
struct alignas(64) TileShapes {
    std::uint8_t palette = 1, start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};

    void set(int tile, std::uint32_t its_rows, std::uint32_t its_row_bytes) {
        rows[tile] = static_cast<std::uint8_t>(its_rows);
        row_bytes[tile] = static_cast<std::uint16_t>(its_row_bytes);
    }
};
static_assert(sizeof(TileShapes) == 64);

// The instructions, in assembler: intrinsics differ between compilers in what they accept as the
// number of a tile, and in whether the compiler learns of the memory that is read and written.
inline void load_shapes(const TileShapes& shapes) {
    __asm__ volatile("ldtilecfg %0" ::"m"(shapes));
}
[[gnu::always_inline]] inline void release_tiles() { __asm__ volatile("tilerelease"); }

template <int Tile>
[[gnu::always_inline]] inline void zero_tile() {
    __asm__ volatile("tilezero %%tmm%c0" ::"i"(Tile));
}
template <int Tile>
[[gnu::always_inline]] inline void load_tile(const void* from, std::size_t stride_bytes) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride_bytes), "i"(Tile)
                     : "memory");
}
template <int Tile>
[[gnu::always_inline]] inline void store_tile(void* to, std::size_t stride_bytes) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride_bytes), "i"(Tile)
                     : "memory");
}
// sums += rows * outputs, of bf16.
template <int Sums, int Rows, int Outputs>
[[gnu::always_inline]] inline void multiply_bf16() {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sums), "i"(Rows), "i"(Outputs));
}

}  // namespace
}  // namespace holdfast::cpu
