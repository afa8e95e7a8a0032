#include "common/base/random.h"

#include <sys/random.h>

#include "common/base/assert.h"

namespace holdfast::base {

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key) {
    constexpr std::uint64_t multiplier_0 = 0xD2511F53, multiplier_1 = 0xCD9E8D57;
    constexpr std::uint32_t weyl_0 = 0x9E3779B9, weyl_1 = 0xBB67AE85;
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t product_0 = multiplier_0 * counter[0];
        const std::uint64_t product_1 = multiplier_1 * counter[2];
        counter = {static_cast<std::uint32_t>(product_1 >> 32) ^ counter[1] ^ key[0],
                   static_cast<std::uint32_t>(product_1),
                   static_cast<std::uint32_t>(product_0 >> 32) ^ counter[3] ^ key[1],
                   static_cast<std::uint32_t>(product_0)};
        key = {key[0] + weyl_0, key[1] + weyl_1};
    }
    return counter;
}

float uniform(std::uint64_t seed, std::uint32_t choice, std::uint64_t position) {
    const auto bits =
        philox({static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(position >> 32),
                choice, 0},
               {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
    return static_cast<float>(bits[0] >> 8) * 0x1.0p-24F;
}

std::uint64_t SystemEntropy::next() {
    std::uint64_t value = 0;
    HF_ASSERT(::getrandom(&value, sizeof value, 0) == sizeof value);
    return value;
}

std::string random_hex(Entropy& entropy, int bytes) {
    constexpr char digits[] = "0123456789abcdef";
    std::string text;
    text.reserve(2 * static_cast<std::size_t>(bytes));
    std::uint64_t bits = 0;
    for (int i = 0; i < bytes; ++i) {
        if (i % 8 == 0) bits = entropy.next();
        text += digits[bits & 15];
        text += digits[bits >> 4 & 15];
        bits >>= 8;
    }
    return text;
}

}  // namespace holdfast::base
