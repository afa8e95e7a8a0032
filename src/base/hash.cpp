#include "base/hash.h"

#include <openssl/sha.h>
#include <xxhash.h>

#include <fmt/format.h>

#include <array>

#include "base/assert.h"

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

std::string sha256_hex(std::string_view data) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
    SHA256(reinterpret_cast<const unsigned char*>(data.data()), data.size(), digest.data());
    std::string text;
    for (const unsigned char byte : digest) text += fmt::format("{:02x}", byte);
    return text;
}

}  // namespace holdfast::base
