// Keys and values of all layers, in blocks of 16 tokens, in the layout and the type that the
// attention kernel reads.
#pragma once

#include <cstddef>
#include <cstdint>

#include "inference/backend/cpu/kernels.h"
#include "inference/backend/cpu/memory.h"
#include "inference/tensor/kv_type.h"

namespace holdfast::cpu {

struct KvShape {
    tensor::KvType type = tensor::KvType::f32;
    std::uint32_t layers = 0, blocks = 0, kv_heads = 0, head_dim = 0;
};

// Keys and values of a model. Different threads may keep different tokens at the same time.
class KvCache {
public:
    KvCache() = default;
    [[nodiscard]] static base::Result<KvCache> reserve(const KvShape& shape,
                                                       cores::Pool* pool = nullptr);
    static std::size_t needed_bytes(const KvShape& shape);
    // Of one key head in one block, keys or values.
    static std::size_t head_bytes(const KvShape& shape);

    const KvShape& shape() const { return shape_; }

    // Puts a token's key and value, [kv_head][head_dim] each, into place `slot` of a block.
    void keep(std::uint32_t layer, std::uint32_t block, std::uint32_t slot, const float* key,
              const float* value);

    // The layer's part of an attention job.
    KvLayer layer(std::uint32_t layer) const;

private:
    std::size_t block_bytes() const;
    std::byte* keys(std::uint32_t layer) const;

    KvShape shape_;
    Memory memory_;
};

}  // namespace holdfast::cpu
