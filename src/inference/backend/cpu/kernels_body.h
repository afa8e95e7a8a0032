// The kernels' bodies, once for all instruction sets. A file includes this after defining, in the
// unnamed namespace of holdfast::cpu:
//   struct Lanes        a vector of Lanes::width floats with the operations used below
//   struct Ints         as many 32-bit integers, with the operations used in quantized_body.h
//   load_float16, load_unsigned_bytes, load_signed_bytes   as many numbers, widened to Lanes
//   Bf16Panel, F16Panel, F32Panel   sources of packed weights, see accumulate()
//   accumulators_max    vectors that can be kept in registers as sums
//   tile_rows_max       rows of the largest register tile
// Everything here is in the unnamed namespace and calls no inline function of the standard library:
// the linker merges such functions across files, and could keep the copy that was compiled for an
// instruction set that the processor does not have.
#pragma once

#include "inference/backend/cpu/kernels.h"
#include "inference/backend/cpu/quantized_layout.h"

#if defined(__clang__)
#define HF_UNROLL _Pragma("clang loop unroll(full)")
#else
#define HF_UNROLL _Pragma("GCC unroll 32")
#endif
#define HF_INLINE inline __attribute__((always_inline))

namespace holdfast::cpu {
namespace {

constexpr int lane_count = 16;                         // chains of strided sums
constexpr int lane_parts = lane_count / Lanes::width;  // vectors that make up 16 lanes

constexpr std::uint32_t chunk_positions = 128;
constexpr std::uint32_t inputs_per_pass = 128;  // of a panel, kept in the first cache for all tiles
constexpr std::uint32_t tiles_per_part_max = tiles_per_part(tensor::DataType::bf16);

// exp(x), 0 below -87. Range reduction by a multiple of ln 2 in two parts, then the Taylor
// polynomial of degree 7 on [-ln(2)/2, ln(2)/2], whose remainder is below 6e-9.
HF_INLINE Lanes exponential(Lanes x) {
    const Lanes magic = Lanes::all(12582912.0F);  // 1.5 * 2^23: adding it rounds to an integer
    const Lanes clamped = Lanes::max(Lanes::min(x, Lanes::all(88.0F)), Lanes::all(-87.0F));
    const Lanes shifted = Lanes::fma(clamped, Lanes::all(1.44269504F), magic);
    const Lanes n = shifted - magic;
    Lanes r = Lanes::fma(n, Lanes::all(-0.693145752F), clamped);
    r = Lanes::fma(n, Lanes::all(-1.42860677e-6F), r);
    Lanes p = Lanes::all(1.0F / 5040);
    p = Lanes::fma(p, r, Lanes::all(1.0F / 720));
    p = Lanes::fma(p, r, Lanes::all(1.0F / 120));
    p = Lanes::fma(p, r, Lanes::all(1.0F / 24));
    p = Lanes::fma(p, r, Lanes::all(1.0F / 6));
    p = Lanes::fma(p, r, Lanes::all(0.5F));
    p = Lanes::fma(p, r, Lanes::all(1.0F));
    p = Lanes::fma(p, r, Lanes::all(1.0F));
    return Lanes::zero_where_below(x, Lanes::all(-87.0F), Lanes::scale_by_power(p, shifted));
}

HF_INLINE float sum_of_lanes(const float* lanes) {
    float sums[lane_count];
    for (int i = 0; i < lane_count; ++i) sums[i] = lanes[i];
    for (int half = lane_count / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) sums[i] = sums[i] + sums[i + half];
    return sums[0];
}

void exponential_row(const float* x, std::uint32_t size, float* y) {
    for (std::uint32_t i = 0; i < size; i += Lanes::width) {
        float lanes[Lanes::width] = {};
        const std::uint32_t count = size - i < Lanes::width ? size - i : Lanes::width;
        for (std::uint32_t j = 0; j < count; ++j) lanes[j] = x[i + j];
        exponential(Lanes::load(lanes)).store(lanes);
        for (std::uint32_t j = 0; j < count; ++j) y[i + j] = lanes[j];
    }
}

void rms_norm(const float* x, const float* weight, std::uint32_t size, float epsilon, float* y) {
    Lanes sums[lane_parts];
    HF_UNROLL for (Lanes& sum : sums) sum = Lanes::all(0.0F);
    for (std::uint32_t i = 0; i < size; i += lane_count) {
        HF_UNROLL for (int part = 0; part < lane_parts; ++part) {
            const Lanes v = Lanes::load(x + i + part * Lanes::width);
            sums[part] = Lanes::fma(v, v, sums[part]);
        }
    }
    float lanes[lane_count];
    HF_UNROLL for (int part = 0; part < lane_parts; ++part) sums[part].store(lanes +
                                                                             part * Lanes::width);
    const float mean = sum_of_lanes(lanes) / static_cast<float>(size);
    const Lanes inverse = Lanes::all(1.0F / __builtin_sqrtf(mean + epsilon));
    for (std::uint32_t i = 0; i < size; i += Lanes::width)
        (Lanes::load(x + i) * inverse * Lanes::load(weight + i)).store(y + i);
}

// Calls body.template run<Rows>() for the Rows in [1, Most] that equals `rows`.
template <int Most, class Body>
HF_INLINE void with_rows(std::uint32_t rows, const Body& body) {
    if constexpr (Most > 1) {
        if (rows != Most) return with_rows<Most - 1>(rows, body);
    }
    body.template run<Most>();
}

struct PackTile {
    const float* x;
    std::size_t stride;
    std::uint32_t inputs;
    float* packed;
    template <int Rows>
    HF_INLINE void run() const {
        for (std::uint32_t k = 0; k < inputs; ++k)
            HF_UNROLL for (int row = 0; row < Rows; ++row) packed[k * Rows + row] =
                x[row * stride + k];
    }
};

void pack_rows(const float* x, std::size_t stride, std::uint32_t inputs, const Tiling& tiling,
               std::uint32_t tile, float* packed) {
    const std::uint32_t begin = tiling.begin(tile);
    const PackTile body{x + begin * stride, stride, inputs, packed + std::size_t{begin} * inputs};
    with_rows<tile_rows_max>(tiling.begin(tile + 1) - begin, body);
}

// The sum of c and a * b, or of all products that a source keeps in a lane.
template <class Source>
HF_INLINE Lanes multiply_add(Lanes a, Lanes b, Lanes c) {
    if constexpr (requires { Source::multiply_add(a, b, c); })
        return Source::multiply_add(a, b, c);
    else
        return Lanes::fma(a, b, c);
}

// The one inner loop. For `count` steps k: sums[row][o] = fma(x[k][row], source[k][o],
// sums[row][o]) for 32 outputs o, where x[k][row] is x[k * StepX + row * RowX]. The outputs are
// taken in `lane_parts` pairs of vectors: pair p covers outputs p * width and 16 + p * width, which
// is what one load of packed bf16 gives. As many pairs as fit into registers go in one pass.
template <int Rows, int StepX, int RowX, class Source>
HF_INLINE void accumulate(const Source& source, const float* x, std::uint32_t count, float* sums,
                          std::size_t sums_stride, bool from_zero) {
    constexpr int fitting = accumulators_max / (2 * Rows);
    constexpr int pairs = fitting >= lane_parts ? lane_parts
                          : fitting >= 8        ? 8
                          : fitting >= 4        ? 4
                          : fitting >= 2        ? 2
                                                : 1;
    for (int first = 0; first < lane_parts; first += pairs) {
        Lanes low[Rows][pairs], high[Rows][pairs];
        HF_UNROLL for (int row = 0; row < Rows; ++row) {
            HF_UNROLL for (int p = 0; p < pairs; ++p) {
                float* const at = sums + row * sums_stride + (first + p) * Lanes::width;
                low[row][p] = from_zero ? Lanes::all(0.0F) : Lanes::load(at);
                high[row][p] = from_zero ? Lanes::all(0.0F) : Lanes::load(at + lane_count);
            }
        }
        for (std::uint32_t k = 0; k < count; ++k) {
            Lanes w_low[pairs], w_high[pairs];
            HF_UNROLL for (int p = 0; p < pairs; ++p)
                source.load(k, first + p, w_low[p], w_high[p]);
            HF_UNROLL for (int row = 0; row < Rows; ++row) {
                const Lanes factor = Lanes::all(x[k * StepX + row * RowX]);
                HF_UNROLL for (int p = 0; p < pairs; ++p) {
                    low[row][p] = multiply_add<Source>(factor, w_low[p], low[row][p]);
                    high[row][p] = multiply_add<Source>(factor, w_high[p], high[row][p]);
                }
            }
        }
        HF_UNROLL for (int row = 0; row < Rows; ++row) {
            HF_UNROLL for (int p = 0; p < pairs; ++p) {
                float* const at = sums + row * sums_stride + (first + p) * Lanes::width;
                low[row][p].store(at);
                high[row][p].store(at + lane_count);
            }
        }
    }
}

void store_panel(const LinearJob& job, const float* sums, std::uint32_t panel, float* y) {
    const std::uint32_t first = panel * panel_outputs;
    const std::uint32_t count =
        job.outputs - first < panel_outputs ? job.outputs - first : panel_outputs;
    float* const out = y + first;
    // NOLINTBEGIN(clang-analyzer-core.*): AMX stores its tiles unseen by the analyzer.
    if (job.bias != nullptr) {
        for (std::uint32_t i = 0; i < count; ++i) out[i] = sums[i] + job.bias[first + i];
    } else if (job.epilogue == Epilogue::add) {
        for (std::uint32_t i = 0; i < count; ++i) out[i] = out[i] + sums[i];
    } else {
        for (std::uint32_t i = 0; i < count; ++i) out[i] = sums[i];
    }
    // NOLINTEND(clang-analyzer-core.*)
}

void store_swiglu(const float* sums, std::uint32_t panel, float* y) {
    HF_UNROLL for (int part = 0; part < lane_parts; ++part) {
        const Lanes gate = Lanes::load(sums + part * Lanes::width);
        const Lanes up = Lanes::load(sums + lane_count + part * Lanes::width);
        const Lanes one = Lanes::all(1.0F);
        const Lanes silu = gate / (one + exponential(Lanes::all(0.0F) - gate));
        (silu * up).store(y + std::size_t{panel} * lane_count + part * Lanes::width);
    }
}

void store_rows(const LinearJob& job, const float* sums, std::uint32_t row_begin,
                std::uint32_t row_end, std::uint32_t panel) {
    for (std::uint32_t row = row_begin; row < row_end; ++row) {
        const float* const sum = sums + std::size_t{row - row_begin} * panel_outputs;
        float* const y = job.y + row * job.y_stride;
        if (job.epilogue == Epilogue::swiglu)
            store_swiglu(sum, panel, y);
        else
            store_panel(job, sum, panel, y);
    }
}

template <class Source>
struct LinearTile {
    const std::byte* weights;
    const float* x;
    std::uint32_t first_input, count;
    float* sums;
    template <int Rows>
    HF_INLINE void run() const {
        accumulate<Rows, Rows, 1>(Source(weights), x + std::size_t{first_input} * Rows, count, sums,
                                  panel_outputs, first_input == 0);
    }
};

template <class Source>
void linear_with(const LinearJob& job, std::uint32_t tile_begin, std::uint32_t tile_end,
                 std::uint32_t panel_begin, std::uint32_t panel_end) {
    alignas(64) float sums[tiles_per_part_max * tile_rows_max * panel_outputs];
    constexpr std::size_t input_bytes = panel_outputs * Source::element_bytes;
    const Tiling& tiling = job.tiling;
    const std::uint32_t first_row = tiling.begin(tile_begin);
    const std::uint32_t step = tile_end - tile_begin == 1 ? job.inputs : inputs_per_pass;
    for (std::uint32_t panel = panel_begin; panel < panel_end; ++panel) {
        const std::byte* const weights = job.panels + std::size_t{panel} * job.inputs * input_bytes;
        for (std::uint32_t k = 0; k < job.inputs; k += step) {
            const std::uint32_t count = job.inputs - k < step ? job.inputs - k : step;
            for (std::uint32_t tile = tile_begin; tile < tile_end; ++tile) {
                const std::uint32_t row = tiling.begin(tile);
                const LinearTile<Source> body{weights + k * input_bytes,
                                              job.x + std::size_t{row} * job.inputs, k, count,
                                              sums + std::size_t{row - first_row} * panel_outputs};
                with_rows<tile_rows_max>(tiling.begin(tile + 1) - row, body);
            }
        }
        store_rows(job, sums, first_row, tiling.begin(tile_end), panel);
    }
}

}  // namespace
}  // namespace holdfast::cpu

#include "inference/backend/cpu/quantized_body.h"

namespace holdfast::cpu {
namespace {

void linear(const LinearJob& job, std::uint32_t tile_begin, std::uint32_t tile_end,
            std::uint32_t panel_begin, std::uint32_t panel_end) {
    const std::uint32_t tiles_max = tiles_per_part(job.type);
    for (std::uint32_t tile = tile_begin; tile < tile_end; tile += tiles_max) {
        const std::uint32_t end = tile_end - tile < tiles_max ? tile_end : tile + tiles_max;
        switch (job.type) {
            case tensor::DataType::bf16:
                linear_with<Bf16Panel>(job, tile, end, panel_begin, panel_end);
                break;
            case tensor::DataType::f16:
                linear_with<F16Panel>(job, tile, end, panel_begin, panel_end);
                break;
            case tensor::DataType::f32:
                linear_with<F32Panel>(job, tile, end, panel_begin, panel_end);
                break;
            case tensor::DataType::q8_0:
                linear_quantized<tensor::DataType::q8_0>(job, tile, end, panel_begin, panel_end);
                break;
            case tensor::DataType::q4_0:
                linear_quantized<tensor::DataType::q4_0>(job, tile, end, panel_begin, panel_end);
                break;
            case tensor::DataType::q4_k:
                linear_quantized<tensor::DataType::q4_k>(job, tile, end, panel_begin, panel_end);
                break;
            case tensor::DataType::q5_k:
                linear_quantized<tensor::DataType::q5_k>(job, tile, end, panel_begin, panel_end);
                break;
            case tensor::DataType::q6_k:
                linear_quantized<tensor::DataType::q6_k>(job, tile, end, panel_begin, panel_end);
                break;
            default:
                __builtin_trap();
        }
    }
}

}  // namespace
}  // namespace holdfast::cpu

#include "inference/backend/cpu/attention_body.h"

namespace holdfast::cpu {
namespace {

constexpr Kernels make_kernels(Isa isa) {
    return {isa,    tile_rows_max, pack_rows, quantize_rows,
            linear, rms_norm,      attention, exponential_row};
}

}  // namespace
}  // namespace holdfast::cpu
