// Linear layers on quantized weights, once for all instruction sets; included by kernels_body.h.
// The weights of a block (32 inputs of some outputs) are widened to bytes in registers once and
// stay there while all rows pass by, a few at a time. With many rows and a scale that 8 blocks of
// activations share, it is the partial sums that stay in registers, through 8 blocks, whose widened
// weights lie in the first cache.
#pragma once

namespace holdfast::cpu {
namespace {

// With many rows, the processor reads on too rarely to notice that a panel is one stream, and is
// told. With few, the hint only gets in its way.
constexpr std::size_t prefetch_bytes = 2'048;
constexpr std::size_t prefetch_row_bytes_max = 128;  // of a block, for each row

// From so many rows on, widened weights are worth their way through the cache.
constexpr std::uint32_t group_rows_min = 32;

// A block of one panel, of the outputs from `first` on.
template <tensor::DataType type>
struct QuantBlock {
    static constexpr QuantLayout layout = quant_layout(type);
    static constexpr int vectors = Ints::block_vectors;
    static constexpr int part_steps = block_steps / layout.parts;
    static constexpr std::size_t vector_bytes = Ints::width * 4;

    Ints weights[vectors][block_steps];
    Lanes scales[vectors][layout.parts];
    Lanes negative_minima[vectors];

    HF_INLINE void load(const std::byte* panel, std::uint32_t block, std::size_t first) {
        const std::byte* const header = panel + layout.header_at(block);
        const std::byte* const at = panel + layout.block_at(block);
        HF_UNROLL for (int v = 0; v < vectors; ++v)
            load_scales(header, at, first + v * std::size_t{Ints::width}, v);
        const std::byte* const low = at + layout.low_begin() + first * 4;
        const std::byte* const high = at + layout.high_begin() + first * 4;
        HF_UNROLL for (int s = 0; s < (layout.low_bits == 8 ? 8 : 4); ++s) load_low(low, s);
        if constexpr (layout.high_bits == 1) {
            HF_UNROLL for (int v = 0; v < vectors; ++v) add_high_bit(high, v);
        } else if constexpr (layout.high_bits == 2) {
            HF_UNROLL for (int half = 0; half < 2; ++half)
                HF_UNROLL for (int v = 0; v < vectors; ++v) add_high_bits(high, half, v);
        }
    }

private:
    HF_INLINE void load_scales(const std::byte* header, const std::byte* at, std::size_t lane,
                               int v) {
        if constexpr (layout.group_blocks == 1) {
            scales[v][0] = load_float16(at + lane * 2);
        } else if constexpr (layout.minima) {
            scales[v][0] = load_float16(header + lane * 2) * load_unsigned_bytes(at + lane);
            negative_minima[v] = Lanes::all(0.0F) - load_float16(header + 64 + lane * 2) *
                                                        load_unsigned_bytes(at + 32 + lane);
        } else {
            const Lanes scale = load_float16(header + lane * 2);
            scales[v][0] = scale * load_signed_bytes(at + lane);
            scales[v][1] = scale * load_signed_bytes(at + 32 + lane);
        }
    }

    // Step s, or steps s and s + 4, from the panel in the order in which memory holds them: the
    // compiler would take any, and a processor that reads ahead would not follow it.
    HF_INLINE void load_low(const std::byte* low, int s) {
        HF_UNROLL for (int v = 0; v < vectors; ++v) {
            const Ints both = Ints::load(low + s * step_bytes + v * vector_bytes);
            if constexpr (layout.low_bits == 8) {
                weights[v][s] = both;
            } else {
                weights[v][s] = both & Ints::all_bytes(0x0f);
                weights[v][s + 4] = (both >> 4) & Ints::all_bytes(0x0f);
            }
        }
        __asm__ volatile("" ::: "memory");
    }

    HF_INLINE void add_high_bit(const std::byte* high, int v) {
        const Ints bits = Ints::load(high + v * vector_bytes);
        const Ints mask = Ints::all_bytes(0x10);
        HF_UNROLL for (int s = 0; s < 4; ++s) {
            weights[v][s] = weights[v][s] | ((bits << (4 - s)) & mask);
            weights[v][s + 4] = weights[v][s + 4] | ((bits >> s) & mask);
        }
    }

    HF_INLINE void add_high_bits(const std::byte* high, int half, int v) {
        const Ints bits = Ints::load(high + half * step_bytes + v * vector_bytes);
        const Ints mask = Ints::all_bytes(0x30);
        Ints* const to = weights[v] + std::ptrdiff_t{4} * half;
        to[0] = to[0] | ((bits << 4) & mask);
        to[1] = to[1] | ((bits << 2) & mask);
        to[2] = to[2] | (bits & mask);
        to[3] = to[3] | ((bits >> 2) & mask);
    }
};

// The dot products of a part of a block with some rows.
template <int Rows, tensor::DataType type>
HF_INLINE void dot_part(const QuantBlock<type>& block, const ActivationBlock* x, int part,
                        Ints (&dots)[Rows][QuantBlock<type>::vectors]) {
    using Block = QuantBlock<type>;
    constexpr std::ptrdiff_t stride = Block::layout.activation_blocks;
    constexpr bool bytes = Block::layout.low_bits == 8;
    HF_UNROLL for (int row = 0; row < Rows; ++row)
        HF_UNROLL for (int v = 0; v < Block::vectors; ++v) dots[row][v] =
            Ints::all(x[row * stride].starts[part]);
    HF_UNROLL for (int i = 0; i < Block::part_steps; ++i) {
        const int step = part * Block::part_steps + i;
        HF_UNROLL for (int row = 0; row < Rows; ++row) {
            const Ints words = Ints::all(x[row * stride].words[step]);
            HF_UNROLL for (int v = 0; v < Block::vectors; ++v) dots[row][v] =
                Ints::dot<bytes>(dots[row][v], block.weights[v][step], words);
        }
    }
}

// Where a block stands among those that share an activation scale.
struct First {
    static constexpr bool first = true, last = false;
};
struct Middle {
    static constexpr bool first = false, last = false;
};
struct Last {
    static constexpr bool first = false, last = true;
};
struct Only {
    static constexpr bool first = true, last = true;
};

// Adds a block's products with some rows to their sums.
template <tensor::DataType type, class Place>
struct QuantRows {
    using Block = QuantBlock<type>;
    const Block& block;
    const ActivationBlock* x;  // of the first row
    float* partials;  // of the first row and the block's first output, for unfinished groups
    float* sums;      // likewise, for finished ones

    template <int Rows>
    HF_INLINE void run() const {
        constexpr int vectors = Block::vectors;
        Lanes partial[Rows][vectors];
        HF_UNROLL for (int part = 0; part < static_cast<int>(Block::layout.parts); ++part) {
            Ints dots[Rows][vectors];
            dot_part(block, x, part, dots);
            HF_UNROLL for (int row = 0; row < Rows; ++row)
                HF_UNROLL for (int v = 0; v < vectors; ++v) {
                const Lanes dot = dots[row][v].to_float(), scale = block.scales[v][part];
                if (part == 0 && !Place::first)
                    partial[row][v] = Lanes::load(partials + at(row, v));
                partial[row][v] = part == 0 && Place::first
                                      ? dot * scale
                                      : Lanes::fma(dot, scale, partial[row][v]);
            }
        }
        HF_UNROLL for (int row = 0; row < Rows; ++row) HF_UNROLL for (int v = 0; v < vectors; ++v) {
            Lanes sum = partial[row][v];
            if constexpr (Block::layout.minima)
                sum = Lanes::fma(block.negative_minima[v], Lanes::all(from(row).sum), sum);
            if constexpr (Place::last) {
                float* const total = sums + at(row, v);
                Lanes::fma(sum, Lanes::all(from(row).scale), Lanes::load(total)).store(total);
            } else {
                sum.store(partials + at(row, v));
            }
        }
    }

private:
    static constexpr std::ptrdiff_t at(int row, int v) {
        return row * std::ptrdiff_t{panel_outputs} + v * Lanes::width;
    }
    const ActivationBlock& from(int row) const {
        return x[row * std::ptrdiff_t{Block::layout.activation_blocks}];
    }
};

// All rows pass by a block.
template <class Place, tensor::DataType type>
HF_INLINE void add_block(const QuantBlock<type>& block, const ActivationBlock* x,
                         std::uint32_t rows, float* partials, float* sums) {
    const auto from = [&](std::size_t row) __attribute__((always_inline)) {
        return QuantRows<type, Place>{block, x + row * block.layout.activation_blocks,
                                      partials + row * panel_outputs, sums + row * panel_outputs};
    };
    std::uint32_t row = 0;
    for (; row + Ints::block_rows <= rows; row += Ints::block_rows)
        from(row).template run<Ints::block_rows>();
    if constexpr (Ints::block_rows > 1)
        if (row < rows) with_rows<Ints::block_rows - 1>(rows - row, from(row));
}

// Chooses by the place of block k of `blocks`.
template <tensor::DataType type>
HF_INLINE void add_block_at(std::uint32_t k, std::uint32_t blocks, const QuantBlock<type>& block,
                            const ActivationBlock* x, std::uint32_t rows, float* partials,
                            float* sums) {
    constexpr std::uint32_t group = quant_layout(type).activation_blocks;
    if constexpr (group == 1) {
        add_block<Only>(block, x, rows, partials, sums);
    } else {
        const bool first = k % group == 0, last = k % group == group - 1 || k + 1 == blocks;
        if (first && last)
            add_block<Only>(block, x, rows, partials, sums);
        else if (first)
            add_block<First>(block, x, rows, partials, sums);
        else if (last)
            add_block<Last>(block, x, rows, partials, sums);
        else
            add_block<Middle>(block, x, rows, partials, sums);
    }
}

// A group of blocks that share a scale, and some rows: the partial sums stay in registers.
template <tensor::DataType type>
struct QuantGroupRows {
    using Block = QuantBlock<type>;
    static constexpr int vectors = Block::vectors;
    const Block* blocks;
    std::uint32_t count;       // of blocks
    const ActivationBlock* x;  // of the first row
    float* sums;               // of the first row and the blocks' first output

    template <int Rows>
    HF_INLINE void run() const {
        constexpr std::ptrdiff_t stride = Block::layout.activation_blocks;
        Lanes partial[Rows][vectors];
        // The first product is added to -0, which changes no bit of it.
        HF_UNROLL for (auto& row : partial) HF_UNROLL for (Lanes& sum : row) sum =
            Lanes::all(-0.0F);
        for (std::uint32_t k = 0; k < count; ++k) {
            const Block& block = blocks[k];
            Ints dots[Rows][vectors];
            dot_part(block, x + k, 0, dots);
            HF_UNROLL for (int row = 0; row < Rows; ++row)
                HF_UNROLL for (int v = 0; v < vectors; ++v) {
                Lanes& sum = partial[row][v];
                sum = Lanes::fma(dots[row][v].to_float(), block.scales[v][0], sum);
                if constexpr (Block::layout.minima)
                    sum = Lanes::fma(block.negative_minima[v], Lanes::all(x[row * stride + k].sum),
                                     sum);
            }
        }
        HF_UNROLL for (int row = 0; row < Rows; ++row) HF_UNROLL for (int v = 0; v < vectors; ++v) {
            float* const total = sums + row * std::ptrdiff_t{panel_outputs} + v * Lanes::width;
            Lanes::fma(partial[row][v], Lanes::all(x[row * stride].scale), Lanes::load(total))
                .store(total);
        }
    }
};

HF_INLINE void prefetch(const std::byte* from, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i);
}

// All rows pass by the group of blocks that begins with block k; meanwhile the next group comes
// into the first cache, in even parts.
template <tensor::DataType type>
HF_INLINE void add_group(const std::byte* panel, std::uint32_t k, std::uint32_t count,
                         std::uint32_t first, const ActivationBlock* x, std::uint32_t rows,
                         float* sums) {
    using Block = QuantBlock<type>;
    constexpr std::size_t stride = Block::layout.activation_blocks;
    constexpr std::uint32_t passes = panel_outputs / (Block::vectors * Ints::width);
    const std::uint32_t turns = passes * (rows / Ints::block_rows);
    const std::size_t turn_bytes = (Block::layout.header_at(stride) / turns + 63) / 64 * 64;
    const std::size_t turns_before = std::size_t{first} * turns / panel_outputs;
    const std::byte* next = panel + Block::layout.header_at(k + stride) + turns_before * turn_bytes;
    Block blocks[stride];
    for (std::uint32_t i = 0; i < count; ++i) blocks[i].load(panel, k + i, first);
    const auto from = [&](std::size_t row) __attribute__((always_inline)) {
        return QuantGroupRows<type>{blocks, count, x + row * stride, sums + row * panel_outputs};
    };
    std::uint32_t row = 0;
    for (; row + Ints::block_rows <= rows; row += Ints::block_rows, next += turn_bytes) {
        prefetch(next, turn_bytes);
        from(row).template run<Ints::block_rows>();
    }
    if constexpr (Ints::block_rows > 1)
        if (row < rows) with_rows<Ints::block_rows - 1>(rows - row, from(row));
}

template <tensor::DataType type>
void linear_quantized(const LinearJob& job, std::uint32_t tile_begin, std::uint32_t tile_end,
                      std::uint32_t panel_begin, std::uint32_t panel_end) {
    constexpr QuantLayout layout = quant_layout(type);
    constexpr std::uint32_t group = layout.activation_blocks;
    constexpr std::size_t sums_max =
        std::size_t{tiles_per_part(type)} * tile_rows_max * panel_outputs;
    alignas(64) float sums[sums_max];
    alignas(64) float partials[group > 1 ? group_rows_min * std::size_t{panel_outputs} : 1];
    const std::uint32_t row_begin = job.tiling.begin(tile_begin);
    const std::uint32_t row_end = job.tiling.begin(tile_end);
    const std::uint32_t rows = row_end - row_begin;
    const std::uint32_t blocks = job.inputs / block_inputs;
    constexpr std::uint32_t pass_outputs = Ints::block_vectors * Ints::width;
    for (std::uint32_t panel = panel_begin; panel < panel_end; ++panel) {
        const std::byte* const weights = job.panels + panel * layout.panel_bytes(job.inputs);
        __builtin_memset(sums, 0, std::size_t{rows} * panel_outputs * sizeof(float));
        const auto x_of = [&](std::uint32_t k) __attribute__((always_inline)) {
            return job.blocks + activation_index(group, k, row_begin, job.tiling.rows);
        };
        if (group > 1 && rows >= group_rows_min) {
            for (std::uint32_t k = 0; k < blocks; k += group)
                for (std::uint32_t first = 0; first < panel_outputs; first += pass_outputs)
                    add_group<type>(weights, k, blocks - k < group ? blocks - k : group, first,
                                    x_of(k), rows, sums + first);
        } else {
            for (std::uint32_t k = 0; k < blocks; ++k) {
                if (rows * prefetch_row_bytes_max > layout.block_bytes())
                    prefetch(weights + layout.block_at(k) + prefetch_bytes, layout.block_bytes());
                for (std::uint32_t first = 0; first < panel_outputs; first += pass_outputs) {
                    QuantBlock<type> block;
                    block.load(weights, k, first);
                    add_block_at(k, blocks, block, x_of(k), rows, partials + first, sums + first);
                }
            }
        }
        store_rows(job, sums, row_begin, row_end, panel);
    }
}

HF_INLINE float largest_magnitude(const float* x, std::uint32_t count) {
    Lanes largest = Lanes::all(0.0F);
    for (std::uint32_t i = 0; i < count; i += Lanes::width) {
        const Lanes v = Lanes::load(x + i);
        largest = Lanes::max(largest, Lanes::max(v, Lanes::all(0.0F) - v));
    }
    float lanes[Lanes::width];
    largest.store(lanes);
    float magnitude = lanes[0];
    for (int i = 1; i < Lanes::width; ++i) magnitude = lanes[i] > magnitude ? lanes[i] : magnitude;
    return magnitude;
}

// One block of one row; `magnitude` is the largest of its group. The quants stand in the low bytes
// of x * inverse + 1.5 * 2^23, which rounds to nearest even; the product is not rounded before.
HF_INLINE void quantize_block(const float* x, float magnitude, const QuantLayout& layout,
                              ActivationBlock& to) {
    // Below that, the inverse would overflow; such numbers count as 0.
    const float inverse = magnitude > 0x1p-120F ? 127.0F / magnitude : 0.0F;

    float shifted[block_inputs];
    for (std::uint32_t i = 0; i < block_inputs; i += Lanes::width)
        Lanes::fma(Lanes::load(x + i), Lanes::all(inverse), Lanes::all(12'582'912.0F))
            .store(shifted + i);
    std::uint32_t bits[block_inputs];
    __builtin_memcpy(bits, shifted, sizeof bits);
    std::int8_t quants[block_inputs];
    std::int32_t sums[2] = {};
    for (std::uint32_t half = 0; half < 2; ++half)
        for (std::uint32_t i = half * 16; i < half * 16 + 16; ++i) {
            quants[i] = static_cast<std::int8_t>(bits[i]);
            sums[half] += quants[i];
        }
    __builtin_memcpy(to.words, quants, sizeof quants);
    to.scale = magnitude / 127.0F;
    to.sum = static_cast<float>(sums[0] + sums[1]);
    to.starts[0] = -layout.offset * (layout.parts == 1 ? sums[0] + sums[1] : sums[0]);
    to.starts[1] = -layout.offset * sums[1];
}

void quantize_rows(const float* x, std::size_t stride, std::uint32_t inputs, tensor::DataType type,
                   std::uint32_t rows, std::uint32_t row_begin, std::uint32_t row_end,
                   ActivationBlock* blocks) {
    QuantLayout layout = quant_layout(type);
    if (layout.low_bits == 8) layout.offset = Ints::byte_offset;
    const std::uint32_t group = layout.activation_blocks * block_inputs;
    for (std::uint32_t row = row_begin; row < row_end; ++row)
        for (std::uint32_t begin = 0; begin < inputs; begin += group) {
            const float* const from = x + row * stride + begin;
            const std::uint32_t count = inputs - begin < group ? inputs - begin : group;
            const float magnitude = largest_magnitude(from, count);
            for (std::uint32_t i = 0; i < count; i += block_inputs)
                quantize_block(from + i, magnitude, layout,
                               blocks[activation_index(layout.activation_blocks,
                                                       (begin + i) / block_inputs, row, rows)]);
        }
}

}  // namespace
}  // namespace holdfast::cpu
