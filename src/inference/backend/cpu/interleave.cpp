#include "inference/backend/cpu/interleave.h"

#include <emmintrin.h>

#include <algorithm>
#include <cstring>

namespace holdfast::cpu {
namespace {

// Inputs that are gathered in the first cache, a whole cache line or two of every row, before they
// leave for the panel.
constexpr std::uint32_t strip_inputs = 64;
constexpr std::size_t line_bytes = 64;

__m128i load(const std::byte* from) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
}

// Four words each of four columns become four words each of four inputs, `stride` bytes apart.
void transpose(__m128i a, __m128i b, __m128i c, __m128i d, std::byte* to, std::size_t stride) {
    const auto store = [&](std::size_t input, __m128i words) {
        _mm_store_si128(reinterpret_cast<__m128i*>(to + input * stride), words);
    };
    const __m128i ab_low = _mm_unpacklo_epi32(a, b), ab_high = _mm_unpackhi_epi32(a, b);
    const __m128i cd_low = _mm_unpacklo_epi32(c, d), cd_high = _mm_unpackhi_epi32(c, d);
    store(0, _mm_unpacklo_epi64(ab_low, cd_low));
    store(1, _mm_unpackhi_epi64(ab_low, cd_low));
    store(2, _mm_unpacklo_epi64(ab_high, cd_high));
    store(3, _mm_unpackhi_epi64(ab_high, cd_high));
}

// Past the caches: nobody reads a panel soon, and a line that is written whole need not be fetched.
void stream(const std::byte* from, std::size_t bytes, std::byte* to) {
    for (std::size_t i = 0; i < bytes; i += sizeof(__m128i))
        _mm_stream_si128(reinterpret_cast<__m128i*>(to + i),
                         _mm_load_si128(reinterpret_cast<const __m128i*>(from + i)));
}

// One element after the other: padded panels, and what is left of a row.
template <std::size_t element_bytes, class PlaceOf>
void scatter(const PanelRows& rows, std::uint32_t begin, std::uint32_t end, PlaceOf place_of,
             std::byte* panel) {
    for (std::size_t lane = 0; lane < panel_outputs; ++lane) {
        if (rows[lane] == nullptr) continue;
        for (std::size_t k = begin; k < end; ++k)
            std::memcpy(panel + (k * panel_outputs + place_of(lane)) * element_bytes,
                        rows[lane] + k * element_bytes, element_bytes);
    }
}

// Strips of whole panels through the first cache; returns how many inputs that covered.
// `gather(k, to)` writes the words of inputs k to k + step.
template <std::size_t input_bytes, std::uint32_t step, class Gather>
std::uint32_t interleave(const PanelRows& rows, std::uint32_t inputs, Gather gather,
                         std::byte* panel) {
    if (std::ranges::find(rows, nullptr) != rows.end()) return 0;
    const std::uint32_t whole = inputs / step * step;
    alignas(line_bytes) std::array<std::byte, strip_inputs * input_bytes> strip;
    for (std::uint32_t begin = 0; begin < whole; begin += strip_inputs) {
        const std::uint32_t count = std::min(strip_inputs, whole - begin);
        gather(begin, count, strip.data());
        stream(strip.data(), count * input_bytes, panel + begin * input_bytes);
    }
    _mm_sfence();  // streamed words are not ordered with what tells others of them
    return whole;
}

}  // namespace

void interleave_halves(const PanelRows& rows, std::uint32_t inputs, Pairs pairs, std::byte* panel) {
    constexpr std::size_t half_bytes = 2, columns = panel_outputs / 2;
    constexpr std::size_t input_bytes = panel_outputs * half_bytes;
    constexpr std::uint32_t step = 8;  // halves in a register
    const auto low = [&](std::size_t column) {
        return rows[pairs == Pairs::halves ? column : 2 * column];
    };
    const auto high = [&](std::size_t column) {
        return rows[pairs == Pairs::halves ? columns + column : 2 * column + 1];
    };
    const auto gather = [&](std::uint32_t begin, std::uint32_t count, std::byte* strip) {
        for (std::size_t column = 0; column < columns; column += 4) {
            for (std::uint32_t k = 0; k < count; k += step) {
                std::array<__m128i, 4> first, second;  // inputs k to k + 3, k + 4 to k + 7
                for (std::size_t i = 0; i < 4; ++i) {
                    const std::size_t at = (begin + k) * half_bytes;
                    const __m128i in_low = load(low(column + i) + at);
                    const __m128i in_high = load(high(column + i) + at);
                    first[i] = _mm_unpacklo_epi16(in_low, in_high);
                    second[i] = _mm_unpackhi_epi16(in_low, in_high);
                }
                std::byte* const to = strip + k * input_bytes + column * 4;
                transpose(first[0], first[1], first[2], first[3], to, input_bytes);
                transpose(second[0], second[1], second[2], second[3], to + 4 * input_bytes,
                          input_bytes);
            }
        }
    };
    const std::uint32_t done = interleave<input_bytes, step>(rows, inputs, gather, panel);
    const auto place_of = [&](std::size_t lane) {
        return pairs == Pairs::halves ? lane % columns * 2 + lane / columns : lane;
    };
    scatter<half_bytes>(rows, done, inputs, place_of, panel);
}

void interleave_words(const PanelRows& rows, std::uint32_t inputs, std::byte* panel) {
    constexpr std::size_t word_bytes = 4, input_bytes = panel_outputs * word_bytes;
    constexpr std::uint32_t step = 4;  // words in a register
    const auto gather = [&](std::uint32_t begin, std::uint32_t count, std::byte* strip) {
        for (std::size_t lane = 0; lane < panel_outputs; lane += 4) {
            for (std::uint32_t k = 0; k < count; k += step) {
                const std::size_t at = (begin + k) * word_bytes;
                transpose(load(rows[lane] + at), load(rows[lane + 1] + at),
                          load(rows[lane + 2] + at), load(rows[lane + 3] + at),
                          strip + k * input_bytes + lane * word_bytes, input_bytes);
            }
        }
    };
    const std::uint32_t done = interleave<input_bytes, step>(rows, inputs, gather, panel);
    scatter<word_bytes>(rows, done, inputs, [](std::size_t lane) { return lane; }, panel);
}

}  // namespace holdfast::cpu
