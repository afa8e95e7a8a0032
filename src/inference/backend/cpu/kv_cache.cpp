#include "inference/backend/cpu/kv_cache.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "common/base/assert.h"

namespace holdfast::cpu {
namespace {

using tensor::KvType;

// To nearest even; infinities stay, what is no number stays none.
std::uint16_t to_bf16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if (std::isnan(value)) return static_cast<std::uint16_t>(bits >> 16 | 0x40U);
    return static_cast<std::uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

// The numbers of one head become scale * q with q in [-127, 127], to nearest even. Below 1e-30 all
// are zero, so that neither factor can overflow. A head that is not finite stays so: its scale is
// no number.
struct Scale {
    float scale = 0, inverse = 0;

    Scale(const float* from, std::uint32_t count) {
        float largest = 0;
        bool finite = true;
        for (std::uint32_t i = 0; i < count; ++i) {
            const float magnitude = std::abs(from[i]);
            finite &= magnitude <= std::numeric_limits<float>::max();
            largest = std::max(largest, magnitude);
        }
        if (!finite) {
            scale = std::numeric_limits<float>::quiet_NaN();
        } else if (largest >= 1e-30F) {
            scale = largest / 127.0F;
            inverse = 127.0F / largest;
        }
    }
    std::int8_t quantize(float value) const {
        constexpr float magic = 12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer
        if (inverse == 0) return 0;
        return static_cast<std::int8_t>((value * inverse + magic) - magic);
    }
};

// Writes one head's numbers, `step` elements apart.
void keep_head(KvType type, const float* from, std::uint32_t head_dim, std::uint32_t slot,
               std::size_t first, std::size_t step, std::byte* head) {
    switch (type) {
        case KvType::f32: {
            auto* const to = reinterpret_cast<float*>(head) + first;
            for (std::uint32_t d = 0; d < head_dim; ++d) to[d * step] = from[d];
            return;
        }
        case KvType::bf16: {
            auto* const to = reinterpret_cast<std::uint16_t*>(head) + first;
            for (std::uint32_t d = 0; d < head_dim; ++d) to[d * step] = to_bf16(from[d]);
            return;
        }
        case KvType::q8: {
            const Scale scale(from, head_dim);
            reinterpret_cast<float*>(head)[slot] = scale.scale;
            auto* const to = reinterpret_cast<std::int8_t*>(head + kv_scale_bytes) + first;
            for (std::uint32_t d = 0; d < head_dim; ++d) to[d * step] = scale.quantize(from[d]);
            return;
        }
    }
}

}  // namespace

std::size_t KvCache::head_bytes(const KvShape& shape) {
    const std::size_t elements = std::size_t{shape.head_dim} * key_block_tokens;
    switch (shape.type) {
        case KvType::f32:
            return elements * 4;
        case KvType::bf16:
            return elements * 2;
        case KvType::q8:
            return elements + kv_scale_bytes;
    }
    HF_ASSERT(false);
}

std::size_t KvCache::needed_bytes(const KvShape& shape) {
    return std::size_t{2} * shape.layers * shape.blocks * shape.kv_heads * head_bytes(shape);
}

base::Result<KvCache> KvCache::reserve(const KvShape& shape, cores::Pool* pool) {
    KvCache cache;
    cache.shape_ = shape;
    HF_TRY_ASSIGN(cache.memory_, Memory::reserve(needed_bytes(shape), "keys and values", pool));
    return cache;
}

std::size_t KvCache::block_bytes() const { return shape_.kv_heads * head_bytes(shape_); }

// The keys of a layer and then its values.
std::byte* KvCache::keys(std::uint32_t layer) const {
    HF_ASSERT(layer < shape_.layers);
    return memory_.data() + std::size_t{2} * layer * shape_.blocks * block_bytes();
}

KvLayer KvCache::layer(std::uint32_t layer) const {
    return {.type = shape_.type,
            .keys = keys(layer),
            .values = keys(layer) + shape_.blocks * block_bytes(),
            .block_stride = block_bytes(),
            .head_stride = head_bytes(shape_)};
}

void KvCache::keep(std::uint32_t layer, std::uint32_t block, std::uint32_t slot, const float* key,
                   const float* value) {
    HF_ASSERT(block < shape_.blocks && slot < key_block_tokens);
    std::byte* to_keys = keys(layer) + block * block_bytes();
    std::byte* to_values = to_keys + shape_.blocks * block_bytes();
    for (std::uint32_t head = 0; head < shape_.kv_heads; ++head) {
        keep_head(shape_.type, key, shape_.head_dim, slot, slot, key_block_tokens, to_keys);
        keep_head(shape_.type, value, shape_.head_dim, slot, std::size_t{slot} * shape_.head_dim, 1,
                  to_values);
        to_keys += head_bytes(shape_);
        to_values += head_bytes(shape_);
        key += shape_.head_dim;
        value += shape_.head_dim;
    }
}

}  // namespace holdfast::cpu
