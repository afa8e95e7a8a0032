#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "common/base/hash.h"
#include "inference/tensor/config.h"
#include "inference/tensor/data_type.h"
#include "inference/tensor/kv_type.h"

struct XXH3_state_s;

namespace holdfast::model {

// A tensor's bytes cut into parts of at most 256 KiB that hold whole blocks, for many threads.
class TensorParts {
public:
    TensorParts(tensor::DataType type, std::span<const std::byte> bytes);
    std::uint32_t count() const;
    // `count` parts side by side.
    std::span<const std::byte> bytes(std::uint32_t first, std::uint32_t count) const;
    std::size_t first_element(std::uint32_t part) const;
    std::size_t elements(std::uint32_t part) const;

private:
    std::span<const std::byte> bytes_;
    std::size_t block_elements_, block_bytes_, part_bytes_ = 0;
};

// How a model computes, as far as it changes bits.
struct Profile {
    std::string_view numerics;  // the profile's name, which its backend gives: "portable-1"
    tensor::DataType weights = tensor::DataType::other;  // of most of the layers' bytes
    tensor::KvType kv_type = tensor::KvType::f32;
};

// Collects everything that decides a model's bits: its configuration, all tensors in the order in
// which they are added, and the types that they are computed in. How the checkpoint is cut into
// files does not count. A tensor adds its name, type and size and the 128-bit XXH3 hashes of its
// parts, so that threads can share the work.
class Fingerprint {
public:
    Fingerprint(const tensor::Config& config, bool interleaved_heads);
    void add(std::string_view tensor, tensor::DataType type, std::size_t bytes,
             std::span<const base::Hash128> parts);
    // The type of the matrix that is made of what was added since.
    void add_matrix(tensor::DataType type);

    // "<numerics profile>-<weights>-kv-<cache type>-<32 hexadecimal digits>", such as
    // "portable-1-q8_0-kv-f32-...".
    std::string text(const Profile& profile) const;

private:
    void add_text(std::string_view text);

    struct Free {
        void operator()(XXH3_state_s* state) const;
    };
    std::unique_ptr<XXH3_state_s, Free> state_;
};

}  // namespace holdfast::model
