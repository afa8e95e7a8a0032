// Randomness as a function of its coordinates, never a stream: the number for a token depends on
// (seed, choice, position) alone, so a replay on another instance draws the same numbers.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace holdfast::base {

// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key);

// A float in [0, 1) with 24 random bits for the token at `position` (index among the generated
// tokens of this choice, from 0).
float uniform(std::uint64_t seed, std::uint32_t choice, std::uint64_t position);

// Unpredictable numbers from the system: request ids, seeds for requests that bring none.
class Entropy {
public:
    virtual ~Entropy() = default;
    virtual std::uint64_t next() = 0;
};

class SystemEntropy final : public Entropy {
public:
    std::uint64_t next() override;
};

// `bytes` random bytes as lower-case hexadecimal text.
std::string random_hex(Entropy& entropy, int bytes);

}  // namespace holdfast::base
