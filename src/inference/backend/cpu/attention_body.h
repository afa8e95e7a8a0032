// Attention's body, included by kernels_body.h under its rules.
#pragma once

namespace holdfast::cpu {
namespace {

constexpr std::uint32_t pair_tokens = 2 * key_block_tokens;  // one accumulate() scores two blocks

// Kept numbers as vectors of floats. The compiler's own vectors need no intrinsics, so that this is
// written once for all instruction sets.
template <class Element>
using Kept [[gnu::vector_size(Lanes::width * sizeof(Element))]] = Element;

template <class Element>
HF_INLINE Kept<Element> load_kept(const std::byte* at) {
    Kept<Element> loaded;
    __builtin_memcpy(&loaded, at, sizeof loaded);
    return loaded;
}

HF_INLINE Lanes to_lanes(Kept<float> values) {
    Lanes lanes;
    __builtin_memcpy(&lanes.v, &values, sizeof lanes.v);
    return lanes;
}

struct F32Kept {
    static constexpr std::size_t element_bytes = 4;
    static constexpr bool scaled = false;
    HF_INLINE static Lanes load(const std::byte* at) { return to_lanes(load_kept<float>(at)); }
};

struct Bf16Kept {
    static constexpr std::size_t element_bytes = 2;
    static constexpr bool scaled = false;
    HF_INLINE static Lanes load(const std::byte* at) {
        const auto bits = __builtin_convertvector(load_kept<std::uint16_t>(at), Kept<std::uint32_t>)
                          << 16;
        Kept<float> values;
        __builtin_memcpy(&values, &bits, sizeof values);
        return to_lanes(values);
    }
};

struct Q8Kept {
    static constexpr std::size_t element_bytes = 1;
    static constexpr bool scaled = true;
    HF_INLINE static Lanes load(const std::byte* at) {
        const auto wide = __builtin_convertvector(load_kept<std::int8_t>(at), Kept<std::int32_t>);
        return to_lanes(__builtin_convertvector(wide, Kept<float>));
    }
};

// Keys of two neighbouring blocks: k is the dimension, the 32 outputs are tokens.
template <class Type>
struct KeySource {
    const std::byte* first;
    const std::byte* second;
    HF_INLINE void load(std::uint32_t k, int pair, Lanes& low, Lanes& high) const {
        const std::size_t at =
            (std::size_t{k} * key_block_tokens + pair * Lanes::width) * Type::element_bytes;
        low = Type::load(first + at);
        high = Type::load(second + at);
    }
};

// Values of one block: k is the token, the 32 outputs are dimensions.
template <class Type>
struct ValueSource {
    const std::byte* values;
    std::uint32_t head_dim;
    HF_INLINE void load(std::uint32_t k, int pair, Lanes& low, Lanes& high) const {
        const std::byte* const at =
            values + (std::size_t{k} * head_dim + pair * Lanes::width) * Type::element_bytes;
        low = Type::load(at);
        high = Type::load(at + lane_count * Type::element_bytes);
    }
};

// The running state of Rows queries that share a key head.
template <int Rows, class Type>
class AttentionTile {
public:
    AttentionTile(const AttentionJob& job, std::uint32_t kv_head, std::uint32_t begin)
        : job_(job), head_offset_(kv_head * job.kept.head_stride) {
        const std::uint32_t group = job.heads / job.kv_heads;
        for (int row = 0; row < Rows; ++row) {
            const std::uint32_t token = (begin + row) / group;
            const std::size_t head = std::size_t{kv_head} * group + (begin + row) % group;
            position_[row] = job.position + token;
            out_[row] = job.out + token * job.out_stride + head * job.head_dim;
            const float* const query = job.queries + token * job.query_stride + head * job.head_dim;
            for (std::uint32_t d = 0; d < job.head_dim; ++d) queries_[d * Rows + row] = query[d];
            maximum_[row] = -__builtin_inff();
            for (int i = 0; i < lane_count; ++i) sums_[row][i] = 0.0F;
            for (std::uint32_t d = 0; d < job.head_dim; ++d) weighted_[row][d] = 0.0F;
        }
    }

    void run() {
        for (std::uint32_t start = 0; start <= position_[Rows - 1]; start += chunk_positions) {
            int active = 0;  // rows stand in ascending order of position
            while (position_[active] < start) ++active;
            score(start);
            for (int row = active; row < Rows; ++row) weigh(row, valid(row, start));
            add_values(active, start);
        }
        for (int row = 0; row < Rows; ++row) finish(row);
    }

private:
    static constexpr std::size_t data_offset = Type::scaled ? kv_scale_bytes : 0;

    // Positions of the chunk that the row sees.
    std::uint32_t valid(int row, std::uint32_t start) const {
        const std::uint32_t seen = position_[row] - start + 1;
        return seen < chunk_positions ? seen : chunk_positions;
    }

    // Scores of all rows, also of positions that a row must not see: weigh() drops those.
    void score(std::uint32_t start) {
        const std::uint32_t last_block = position_[Rows - 1] / key_block_tokens;
        const std::uint32_t tokens = valid(Rows - 1, start);
        for (std::uint32_t token = 0; token < tokens; token += pair_tokens) {
            const std::uint32_t block = (start + token) / key_block_tokens;
            const std::byte* const first = key_head(block);
            const std::byte* const second = block < last_block ? key_head(block + 1) : first;
            accumulate<Rows, Rows, 1>(KeySource<Type>{first + data_offset, second + data_offset},
                                      queries_, job_.head_dim, scores_ + token, chunk_positions,
                                      true);
            if constexpr (Type::scaled) {
                scale_scores(token, reinterpret_cast<const float*>(first));
                scale_scores(token + key_block_tokens, reinterpret_cast<const float*>(second));
            }
        }
    }

    const std::byte* key_head(std::uint32_t block) const {
        return job_.kept.keys + job_.blocks[block] * job_.kept.block_stride + head_offset_;
    }

    void scale_scores(std::uint32_t token, const float* scales) {
        HF_UNROLL for (int row = 0; row < Rows; ++row) {
            HF_UNROLL for (int part = 0; part < lane_parts; ++part) {
                float* const at = scores_ + row * chunk_positions + token + part * Lanes::width;
                (Lanes::load(at) * Lanes::load(scales + part * Lanes::width)).store(at);
            }
        }
    }

    // Turns the row's scores into weights and updates its maximum and sums.
    void weigh(int row, std::uint32_t count) {
        float* const scores = scores_ + row * chunk_positions;
        const std::uint32_t padded = (count + lane_count - 1) / lane_count * lane_count;
        for (std::uint32_t i = count; i < padded; ++i) scores[i] = -__builtin_inff();
        Lanes largest[lane_parts];
        const Lanes scale = Lanes::all(job_.scale);
        HF_UNROLL for (Lanes& lanes : largest) lanes = Lanes::all(maximum_[row]);
        for (std::uint32_t i = 0; i < padded; i += lane_count) {
            HF_UNROLL for (int part = 0; part < lane_parts; ++part) {
                float* const at = scores + i + part * Lanes::width;
                const Lanes scaled = Lanes::load(at) * scale;
                scaled.store(at);
                largest[part] = Lanes::max(scaled, largest[part]);
            }
        }
        float lanes[lane_count];
        HF_UNROLL for (int part = 0; part < lane_parts; ++part) largest[part].store(
            lanes + part * Lanes::width);
        float maximum = lanes[0];
        for (int i = 1; i < lane_count; ++i) maximum = lanes[i] > maximum ? lanes[i] : maximum;
        if (maximum != maximum_[row]) rescale(row, maximum);
        for (std::uint32_t i = 0; i < padded; i += lane_count) {
            HF_UNROLL for (int part = 0; part < lane_parts; ++part) {
                float* const at = scores + i + part * Lanes::width;
                float* const sum = sums_[row] + part * Lanes::width;
                const Lanes weight = exponential(Lanes::load(at) - Lanes::all(maximum));
                weight.store(at);
                (Lanes::load(sum) + weight).store(sum);
            }
        }
    }

    void rescale(int row, float maximum) {
        const Lanes factor = exponential(Lanes::all(maximum_[row] - maximum));
        for (std::uint32_t d = 0; d < job_.head_dim; d += Lanes::width)
            (Lanes::load(weighted_[row] + d) * factor).store(weighted_[row] + d);
        for (int i = 0; i < lane_count; i += Lanes::width)
            (Lanes::load(sums_[row] + i) * factor).store(sums_[row] + i);
        maximum_[row] = maximum;
    }

    // All rows from `active` on share the positions that the first of them sees; what the others
    // see beyond is added row by row, so that no row ever touches a value it must not see.
    void add_values(int active, std::uint32_t start) {
        std::uint32_t common = 0;
        if (active == 0) {
            common = valid(0, start);
            add_range<Rows>(0, start, 0, common);
        }
        for (int row = active; row < Rows; ++row)
            add_range<1>(row, start, common, valid(row, start));
    }

    template <int Count>
    HF_INLINE void add_range(int row, std::uint32_t start, std::uint32_t from, std::uint32_t to) {
        while (from < to) {
            const std::uint32_t slot = from % key_block_tokens;
            const std::uint32_t room = key_block_tokens - slot;
            const std::uint32_t count = to - from < room ? to - from : room;
            const std::byte* const head =
                job_.kept.values +
                job_.blocks[(start + from) / key_block_tokens] * job_.kept.block_stride +
                head_offset_;
            float* const weights = scores_ + row * chunk_positions + from;
            if constexpr (Type::scaled) {
                const auto* const scales = reinterpret_cast<const float*>(head) + slot;
                for (int i = 0; i < Count; ++i)
                    for (std::uint32_t t = 0; t < count; ++t)
                        weights[i * chunk_positions + t] *= scales[t];
            }
            const std::byte* const values =
                head + data_offset + std::size_t{slot} * job_.head_dim * Type::element_bytes;
            for (std::uint32_t d = 0; d < job_.head_dim; d += panel_outputs)
                accumulate<Count, 1, chunk_positions>(
                    ValueSource<Type>{values + d * Type::element_bytes, job_.head_dim}, weights,
                    count, weighted_[row] + d, head_dim_max, false);
            from += count;
        }
    }

    void finish(int row) {
        const Lanes sum = Lanes::all(sum_of_lanes(sums_[row]));
        for (std::uint32_t d = 0; d < job_.head_dim; d += Lanes::width)
            (Lanes::load(weighted_[row] + d) / sum).store(out_[row] + d);
    }

    const AttentionJob& job_;
    std::size_t head_offset_;
    std::uint32_t position_[Rows];
    float* out_[Rows];
    float maximum_[Rows];
    alignas(64) float sums_[Rows][lane_count];
    alignas(64) float queries_[head_dim_max * Rows];    // [dimension][row]
    alignas(64) float scores_[Rows * chunk_positions];  // [row][position]
    alignas(64) float weighted_[Rows][head_dim_max];
};

template <class Type>
struct AttentionRows {
    const AttentionJob& job;
    std::uint32_t kv_head, begin;
    template <int Rows>
    void run() const {
        AttentionTile<Rows, Type>(job, kv_head, begin).run();
    }
};

void attention(const AttentionJob& job, std::uint32_t kv_head, std::uint32_t begin,
               std::uint32_t end) {
    switch (job.kept.type) {
        case tensor::KvType::f32:
            return with_rows<tile_rows_max>(end - begin,
                                            AttentionRows<F32Kept>{job, kv_head, begin});
        case tensor::KvType::bf16:
            return with_rows<tile_rows_max>(end - begin,
                                            AttentionRows<Bf16Kept>{job, kv_head, begin});
        case tensor::KvType::q8:
            return with_rows<tile_rows_max>(end - begin,
                                            AttentionRows<Q8Kept>{job, kv_head, begin});
    }
}

}  // namespace
}  // namespace holdfast::cpu
