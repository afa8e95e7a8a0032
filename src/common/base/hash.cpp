#include "common/base/hash.h"

#include <xxhash.h>

#include "common/base/assert.h"

namespace holdfast::base {

Hash128 hash128(std::span<const std::byte> data, Hash128 parent) {
    XXH3_state_t* state = XXH3_createState();
    HF_ASSERT(state != nullptr);
    XXH3_128bits_reset(state);
    XXH3_128bits_update(state, &parent, sizeof parent);
    XXH3_128bits_update(state, data.data(), data.size());
    const XXH128_hash_t digest = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    return {digest.low64, digest.high64};
}

std::uint64_t hash64(std::string_view text, std::uint64_t seed) {
    return XXH3_64bits_withSeed(text.data(), text.size(), seed);
}

}  // namespace holdfast::base
