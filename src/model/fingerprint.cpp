#include "model/fingerprint.h"

#include <fmt/format.h>
#include <xxhash.h>

#include "base/assert.h"

namespace holdfast::model {

void Fingerprint::Free::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

Fingerprint::Fingerprint(const tensor::Config& config) : state_(XXH3_createState()) {
    HF_ASSERT(state_ != nullptr);
    XXH3_128bits_reset(state_.get());
    add_text(
        fmt::format("{} layers={} hidden={} heads={} kv_heads={} head_dim={} ffn={} vocab={} "
                    "context={} theta={:a} epsilon={:a} tied={}",
                    config.architecture, config.layers, config.hidden, config.heads,
                    config.kv_heads, config.head_dim, config.ffn, config.vocab, config.context,
                    config.rope_theta, config.rms_norm_epsilon, config.tied_head));
}

void Fingerprint::add(std::string_view tensor, std::string_view type,
                      std::span<const std::byte> bytes) {
    add_text(fmt::format("{} {} {}", tensor, type, bytes.size()));
    XXH3_128bits_update(state_.get(), bytes.data(), bytes.size());
}

std::string Fingerprint::text(std::string_view weight_format) const {
    const XXH128_hash_t digest = XXH3_128bits_digest(state_.get());
    return fmt::format("{}-{}-{:016x}{:016x}", numerics_version, weight_format, digest.high64,
                       digest.low64);
}

void Fingerprint::add_text(std::string_view text) {
    XXH3_128bits_update(state_.get(), text.data(), text.size());
    XXH3_128bits_update(state_.get(), "\n", 1);
}

}  // namespace holdfast::model
