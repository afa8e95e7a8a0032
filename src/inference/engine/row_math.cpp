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
        out[count++] = {data[i], first_id + static_cast<chat::TokenId>(i), 0.0};
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

HF_VECTORIZED void exact_exp_each(std::span<double> numbers) {
    double* const data = numbers.data();
    for (std::size_t i = 0; i < numbers.size(); ++i) data[i] = exact_exp(data[i]);
}

double add_exponentials(double sum, std::span<const float> logits, float largest) {
    std::array<double, 512> part;
    while (!logits.empty()) {
        const std::size_t count = std::min(part.size(), logits.size());
        for (std::size_t i = 0; i < count; ++i)
            part[i] = std::max(static_cast<double>(logits[i]) - largest, -46.0);
        const std::span<double> exponentials(part.data(), count);
        exact_exp_each(exponentials);
        for (std::size_t i = 0; i < count; ++i)
            sum += static_cast<double>(logits[i]) - largest > -45.0 ? exponentials[i] : 0.0;
        logits = logits.subspan(count);
    }
    return sum;
}

}  // namespace holdfast::engine
