#include "inference/model/fingerprint.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>

#include "common/base/assert.h"

namespace holdfast::model {
namespace {

constexpr std::size_t part_bytes_max = std::size_t{256} << 10;

}  // namespace

TensorParts::TensorParts(tensor::DataType type, std::span<const std::byte> bytes)
    : bytes_(bytes),
      block_elements_(tensor::traits(type).block_elements),
      block_bytes_(tensor::traits(type).block_bytes) {
    HF_ASSERT(block_bytes_ > 0);  // not of type `other`
    part_bytes_ = part_bytes_max / block_bytes_ * block_bytes_;
}

std::uint32_t TensorParts::count() const {
    return static_cast<std::uint32_t>((bytes_.size() + part_bytes_ - 1) / part_bytes_);
}

std::span<const std::byte> TensorParts::bytes(std::uint32_t first, std::uint32_t count) const {
    const std::size_t begin = first * part_bytes_;
    return bytes_.subspan(begin, std::min(count * part_bytes_, bytes_.size() - begin));
}

std::size_t TensorParts::first_element(std::uint32_t part) const {
    return part * part_bytes_ / block_bytes_ * block_elements_;
}

std::size_t TensorParts::elements(std::uint32_t part) const {
    return bytes(part, 1).size() / block_bytes_ * block_elements_;
}

void Fingerprint::Free::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

Fingerprint::Fingerprint(const tensor::Config& config, bool interleaved_heads)
    : state_(XXH3_createState()) {
    HF_ASSERT(state_ != nullptr);
    XXH3_128bits_reset(state_.get());
    add_text(fmt::format(
        "{} layers={} hidden={} heads={} kv_heads={} head_dim={} ffn={} vocab={} context={} "
        "theta={:a} epsilon={:a} bias={} tied={} interleaved={}",
        config.architecture, config.layers, config.hidden, config.heads, config.kv_heads,
        config.head_dim, config.ffn, config.vocab, config.context, config.rope_theta,
        config.rms_norm_epsilon, config.qkv_bias, config.tied_head, interleaved_heads));
    if (const auto& scaling = config.rope_scaling)
        add_text(fmt::format("llama3 {:a} {:a} {:a} {}", scaling->factor,
                             scaling->low_frequency_factor, scaling->high_frequency_factor,
                             scaling->original_context));
    if (!config.rope_divisors.empty())
        add_text(fmt::format("divisors {:a}", fmt::join(config.rope_divisors, " ")));
}

void Fingerprint::add(std::string_view tensor, tensor::DataType type, std::size_t bytes,
                      std::span<const base::Hash128> parts) {
    add_text(fmt::format("{} {} {}", tensor, tensor::name(type), bytes));
    XXH3_128bits_update(state_.get(), parts.data(), parts.size_bytes());
}

void Fingerprint::add_matrix(tensor::DataType type) {
    add_text(fmt::format("matrix {}", tensor::name(type)));
}

std::string Fingerprint::text(const Profile& profile) const {
    const XXH128_hash_t digest = XXH3_128bits_digest(state_.get());
    return fmt::format("{}-{}-kv-{}-{:016x}{:016x}", profile.numerics,
                       tensor::name(profile.weights), tensor::name(profile.kv_type), digest.high64,
                       digest.low64);
}

void Fingerprint::add_text(std::string_view text) {
    XXH3_128bits_update(state_.get(), text.data(), text.size());
    XXH3_128bits_update(state_.get(), "\n", 1);
}

}  // namespace holdfast::model
