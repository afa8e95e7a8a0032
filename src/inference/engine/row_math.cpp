#include "inference/engine/row_math.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>

#include "inference/engine/exact_math.h"

#define HF_VECTORIZED [[gnu::target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")]]

namespace holdfast::engine {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
// Independent maxima, so that one vector instruction, or a few, takes a step of all of them.
constexpr std::size_t lanes = 64;

// Bytes that are 0 or 1 to bits, the first to the lowest. The product moves the last bit of each of
// eight bytes to a place of its own in the highest byte.
inline std::uint64_t pack_bits(const std::array<std::uint8_t, lanes>& bytes) {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < lanes; i += 8) {
        std::uint64_t eight = 0;
        std::memcpy(&eight, bytes.data() + i, sizeof eight);
        bits |= (eight * 0x0102040810204080) >> 56 << i;
    }
    return bits;
}

}  // namespace

HF_VECTORIZED RowScan scan(std::span<const float> logits) {
    std::array<float, lanes> largest;
    largest.fill(-infinity);
    std::array<std::uint32_t, lanes> broken{};
    const std::size_t whole = logits.size() / lanes * lanes;
    const float* const data = logits.data();
    for (std::size_t i = 0; i < whole; i += lanes)
        for (std::size_t lane = 0; lane < lanes; ++lane) {
            const float logit = data[i + lane];
            largest[lane] = logit > largest[lane] ? logit : largest[lane];
            broken[lane] |= logit < infinity ? 0U : 1U;
        }
    RowScan result{-infinity, true};
    for (std::size_t i = whole; i < logits.size(); ++i) {
        result.largest = std::max(result.largest, data[i]);
        result.valid &= data[i] < infinity;
    }
    for (std::size_t lane = 0; lane < lanes; ++lane) {
        result.largest = std::max(result.largest, largest[lane]);
        result.valid &= broken[lane] == 0;
    }
    return result;
}

HF_VECTORIZED std::size_t find_first(std::span<const float> logits, float number) {
    const float* const data = logits.data();
    std::size_t begin = 0;
    for (; begin + lanes <= logits.size(); begin += lanes) {
        std::uint32_t found = 0;
        for (std::size_t lane = 0; lane < lanes; ++lane) found |= data[begin + lane] == number;
        if (found != 0) break;
    }
    while (begin < logits.size() && data[begin] != number) ++begin;
    return begin;
}

// Compares many logits at once, and visits only those that are not below the floor.
HF_VECTORIZED std::size_t collect(std::span<const float> logits, float floor,
                                  chat::TokenId first_id, Candidate* out) {
    const float* const data = logits.data();
    std::size_t count = 0;
    const auto take = [&](std::size_t i) {
        out[count++] = {data[i], first_id + static_cast<chat::TokenId>(i), 0};
    };
    const std::size_t whole = logits.size() / lanes * lanes;
    for (std::size_t begin = 0; begin < whole; begin += lanes) {
        std::array<std::uint8_t, lanes> kept;
        for (std::size_t lane = 0; lane < lanes; ++lane) kept[lane] = data[begin + lane] >= floor;
        for (std::uint64_t bits = pack_bits(kept); bits != 0; bits &= bits - 1)
            take(begin + static_cast<std::size_t>(std::countr_zero(bits)));
    }
    for (std::size_t i = whole; i < logits.size(); ++i)
        if (data[i] >= floor) take(i);
    return count;
}

// Numbers from 2^52 on are spaced by 1: adding it rounds to an integer, which is then in the last
// bits. -33 weighs nothing, and exact_exp is defined there.
HF_VECTORIZED void weigh(std::span<double> exponents, std::span<std::uint64_t> weights) {
    constexpr double spaced_by_one = 0x1p52, one = weight_one;
    double* const x = exponents.data();
    std::uint64_t* const out = weights.data();
    for (std::size_t i = 0; i < exponents.size(); ++i) {
        const double rounded = exact_exp(x[i] < -33.0 ? -33.0 : x[i]) * one + spaced_by_one;
        out[i] =
            std::bit_cast<std::uint64_t>(rounded) - std::bit_cast<std::uint64_t>(spaced_by_one);
    }
}

std::uint64_t sum_of_weights(std::span<const float> logits, float largest) {
    std::array<double, 512> exponents;
    std::array<std::uint64_t, 512> weights;
    std::uint64_t sum = 0;
    while (!logits.empty()) {
        const std::size_t count = std::min(exponents.size(), logits.size());
        for (std::size_t i = 0; i < count; ++i)
            exponents[i] = static_cast<double>(logits[i]) - largest;
        weigh(std::span(exponents).first(count), std::span(weights).first(count));
        for (std::size_t i = 0; i < count; ++i) sum += weights[i];
        logits = logits.subspan(count);
    }
    return sum;
}

}  // namespace holdfast::engine
