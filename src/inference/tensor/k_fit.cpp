// The search for the scales of the K types. Every sub-block first gets the real scale (and minimum)
// that suit it best: for a number of trial scales the numbers are rounded, and least squares give
// the best scale for these codes. Then all scales are rounded to multiples of the block's, the
// neighbours of each multiple are tried, and least squares give the block's own scale again.
// Every sum has one order: eight partial sums, then a tree.
#include <algorithm>
#include <cmath>
#include <limits>

#include "inference/tensor/float16.h"
#include "inference/tensor/k_blocks.h"

namespace holdfast::tensor {
namespace {

constexpr std::size_t lanes = 8;
constexpr int rounds = 3;  // of rounding all scales and fitting the block's again
// Smaller spans than this vanish beside the smallest scale that f16 holds.
constexpr float span_min = 0x1p-40F;

struct Lanes {
    std::array<float, lanes> part{};

    float total() const {
        return ((part[0] + part[4]) + (part[2] + part[6])) +
               ((part[1] + part[5]) + (part[3] + part[7]));
    }
};

// To the nearest integer, ties to even, for magnitudes below 2^22.
float round_small(float value) { return (value + 0x1.8p23F) - 0x1.8p23F; }

// --- Q4_K and Q5_K
// --------------------------------------------------------------------------------

constexpr std::size_t affine_elements = 32, affine_parts = 8;
constexpr float affine_code_max = 63;
using AffinePart = std::span<const float, affine_elements>;

struct AffineFit {
    float scale = 0, minimum = 0;
};

struct AffineSums {
    double x = 0, code = 0, x_code = 0, code_code = 0;
};

AffineSums sum_affine(AffinePart from, float low, float inverse, float levels) {
    Lanes x, code, x_code, code_code;
    for (std::size_t i = 0; i < affine_elements; i += lanes)
        for (std::size_t lane = 0; lane < lanes; ++lane) {
            const float value = from[i + lane];
            const float q = round_small(std::clamp((value - low) * inverse, 0.0F, levels));
            x.part[lane] += value;
            code.part[lane] += q;
            x_code.part[lane] += value * q;
            code_code.part[lane] += q * q;
        }
    return {x.total(), code.total(), x_code.total(), code_code.total()};
}

// Least squares of x = scale * code - minimum for given codes, with a minimum of at least 0. Better
// fits explain more of the sum of squares; nothing if the codes say nothing about the numbers.
double solve_affine(const AffineSums& sums, AffineFit& fit) {
    constexpr double count = affine_elements;
    const double determinant = count * sums.code_code - sums.code * sums.code;
    if (!(determinant > 0)) return -1;
    double scale = (count * sums.x_code - sums.x * sums.code) / determinant;
    double offset = (sums.x * sums.code_code - sums.x_code * sums.code) / determinant;
    if (offset > 0) {
        offset = 0;
        scale = sums.x_code / sums.code_code;
    }
    if (!(scale > 0)) return -1;
    fit = {static_cast<float>(scale), static_cast<float>(-offset)};
    // The sum of squares less what remains of it.
    return 2 * (scale * sums.x_code + offset * sums.x) - scale * scale * sums.code_code -
           2 * scale * offset * sums.code - count * offset * offset;
}

AffineFit fit_affine_part(AffinePart from, float levels) {
    const auto [low_at, high_at] = std::ranges::minmax_element(from);
    const float low = std::min(0.0F, *low_at), high = std::max(low, *high_at);
    AffineFit best{(high - low) / levels, -low};
    if (!(high - low > span_min)) return {0, -low};
    double explained_max = -std::numeric_limits<double>::infinity();
    for (int step = -9; step <= 10; ++step) {
        const float inverse = (levels + 0.1F * static_cast<float>(step)) / (high - low);
        AffineFit fit;
        const double explained = solve_affine(sum_affine(from, low, inverse, levels), fit);
        if (fit.scale > 0 && explained > explained_max) {
            explained_max = explained;
            best = fit;
        }
    }
    return best;
}

// Codes for a given scale and minimum, and the squared error that remains.
float encode_affine(AffinePart from, const AffineFit& fit, float levels, std::uint8_t* codes) {
    const float inverse = fit.scale > 0 ? 1 / fit.scale : 0;
    Lanes error;
    for (std::size_t i = 0; i < affine_elements; i += lanes)
        for (std::size_t lane = 0; lane < lanes; ++lane) {
            const float value = from[i + lane];
            const float q = round_small(std::clamp((value + fit.minimum) * inverse, 0.0F, levels));
            const float off = value - (fit.scale * q - fit.minimum);
            error.part[lane] += off * off;
            codes[i + lane] = static_cast<std::uint8_t>(q);
        }
    return error.total();
}

// The code of `value` as a multiple of `unit`.
float multiple(float value, float unit, float code_max) {
    return unit > 0 ? round_small(std::clamp(value / unit, 0.0F, code_max)) : 0;
}

class AffineSearch {
public:
    AffineSearch(std::span<const float, k_block_elements> from, unsigned bits)
        : from_(from), levels_(static_cast<float>((1U << bits) - 1)) {}

    AffineBlock find() {
        float scale_max = 0, minimum_max = 0;
        for (std::size_t i = 0; i < affine_parts; ++i) {
            fits_[i] = fit_affine_part(part(i), levels_);
            scale_max = std::max(scale_max, fits_[i].scale);
            minimum_max = std::max(minimum_max, fits_[i].minimum);
        }
        AffineBlock best;
        float error_min = std::numeric_limits<float>::infinity();
        float scale = scale_max / affine_code_max, minimum = minimum_max / affine_code_max;
        for (int round = 0; round < rounds; ++round) {
            AffineBlock block = empty(scale, minimum);
            const float error = encode(block);
            if (!(error < error_min)) break;
            error_min = error;
            best = block;
            if (!refit(block, scale, minimum)) break;
        }
        // Nothing has a finite error if the numbers are beyond the range: the scale tells.
        return error_min < std::numeric_limits<float>::infinity() ? best : empty(scale, minimum);
    }

private:
    AffinePart part(std::size_t i) const {
        return from_.subspan(i * affine_elements).first<affine_elements>();
    }

    static AffineBlock empty(float scale, float minimum) {
        AffineBlock block;
        block.scale = float_to_f16(scale);
        block.minimum = float_to_f16(minimum);
        block.scales.fill(0);
        block.minima.fill(0);
        block.codes.fill(0);
        return block;
    }

    // Chooses scales, minima and codes for the block's own scale and minimum.
    float encode(AffineBlock& block) const {
        const float scale = f16_to_float(block.scale), minimum = f16_to_float(block.minimum);
        if (!std::isfinite(scale) || !std::isfinite(minimum))
            return std::numeric_limits<float>::infinity();
        float total = 0;
        for (std::size_t i = 0; i < affine_parts; ++i) {
            const float near_scale = multiple(fits_[i].scale, scale, affine_code_max);
            const float near_minimum = multiple(fits_[i].minimum, minimum, affine_code_max);
            float error_min = std::numeric_limits<float>::infinity();
            for (const float s : {near_scale, near_scale - 1, near_scale + 1})
                for (const float m : {near_minimum, near_minimum - 1, near_minimum + 1}) {
                    if (s < 0 || s > affine_code_max || m < 0 || m > affine_code_max) continue;
                    std::array<std::uint8_t, affine_elements> codes;
                    const float error =
                        encode_affine(part(i), {scale * s, minimum * m}, levels_, codes.data());
                    if (!(error < error_min)) continue;
                    error_min = error;
                    block.scales[i] = static_cast<std::uint8_t>(s);
                    block.minima[i] = static_cast<std::uint8_t>(m);
                    std::ranges::copy(codes, block.codes.begin() + i * affine_elements);
                }
            total += error_min;
        }
        return total;
    }

    // The block's scale and minimum by least squares, everything else as it is.
    bool refit(const AffineBlock& block, float& scale, float& minimum) const {
        double xa = 0, xb = 0, aa = 0, ab = 0, bb = 0;
        for (std::size_t i = 0; i < k_block_elements; ++i) {
            const double x = from_[i], a = block.scales[i / affine_elements] * block.codes[i],
                         b = block.minima[i / affine_elements];
            xa += x * a;
            xb += x * b;
            aa += a * a;
            ab += a * b;
            bb += b * b;
        }
        const double determinant = aa * bb - ab * ab;
        if (determinant > 0) {
            scale = static_cast<float>((xa * bb - xb * ab) / determinant);
            minimum = static_cast<float>((xa * ab - xb * aa) / determinant);
        } else if (aa > 0) {
            scale = static_cast<float>(xa / aa);
        }
        return scale > 0 && minimum >= 0;
    }

    std::span<const float, k_block_elements> from_;
    float levels_;
    std::array<AffineFit, affine_parts> fits_{};
};

// --- Q6_K
// -----------------------------------------------------------------------------------------

constexpr std::size_t symmetric_elements = 16, symmetric_parts = 16;
constexpr float code_min = -32, code_max = 31, symmetric_scale_min = -128,
                symmetric_scale_max = 127;
using SymmetricPart = std::span<const float, symmetric_elements>;

float largest(std::span<const float> from) {
    return *std::ranges::max_element(from, {}, [](float x) { return std::abs(x); });
}

// The scale, of either sign, with the least squared error.
float fit_symmetric_part(SymmetricPart from) {
    const float extreme = largest(from);
    if (!(std::abs(extreme) > span_min)) return 0;
    float best = extreme / code_min;
    double explained_max = -1;
    for (const float sign : {1.0F, -1.0F})
        for (int step = -9; step <= 9; ++step) {
            const float inverse = sign * (code_min + 0.1F * static_cast<float>(step)) / extreme;
            Lanes x_code, code_code;
            for (std::size_t i = 0; i < symmetric_elements; i += lanes)
                for (std::size_t lane = 0; lane < lanes; ++lane) {
                    const float value = from[i + lane];
                    const float q = round_small(std::clamp(value * inverse, code_min, code_max));
                    x_code.part[lane] += value * q;
                    code_code.part[lane] += q * q;
                }
            const double xq = x_code.total(), qq = code_code.total();
            if (!(qq > 0) || !(xq * xq / qq > explained_max)) continue;
            explained_max = xq * xq / qq;
            best = static_cast<float>(xq / qq);
        }
    return best;
}

float encode_symmetric(SymmetricPart from, float scale, std::int8_t* codes) {
    const float inverse = scale != 0 ? 1 / scale : 0;
    Lanes error;
    for (std::size_t i = 0; i < symmetric_elements; i += lanes)
        for (std::size_t lane = 0; lane < lanes; ++lane) {
            const float value = from[i + lane];
            const float q = round_small(std::clamp(value * inverse, code_min, code_max));
            const float off = value - scale * q;
            error.part[lane] += off * off;
            codes[i + lane] = static_cast<std::int8_t>(q);
        }
    return error.total();
}

class SymmetricSearch {
public:
    explicit SymmetricSearch(std::span<const float, k_block_elements> from) : from_(from) {}

    SymmetricBlock find() {
        for (std::size_t i = 0; i < symmetric_parts; ++i) fits_[i] = fit_symmetric_part(part(i));
        SymmetricBlock best;
        float error_min = std::numeric_limits<float>::infinity();
        float scale = largest(fits_) / symmetric_scale_min;
        for (int round = 0; round < rounds; ++round) {
            SymmetricBlock block = empty(scale);
            const float error = encode(block);
            if (!(error < error_min)) break;
            error_min = error;
            best = block;
            if (!refit(block, scale)) break;
        }
        return error_min < std::numeric_limits<float>::infinity() ? best : empty(scale);
    }

private:
    SymmetricPart part(std::size_t i) const {
        return from_.subspan(i * symmetric_elements).first<symmetric_elements>();
    }

    static SymmetricBlock empty(float scale) {
        SymmetricBlock block;
        block.scale = float_to_f16(scale);
        block.scales.fill(0);
        block.codes.fill(0);
        return block;
    }

    float encode(SymmetricBlock& block) const {
        const float scale = f16_to_float(block.scale);
        if (!std::isfinite(scale)) return std::numeric_limits<float>::infinity();
        float total = 0;
        for (std::size_t i = 0; i < symmetric_parts; ++i) {
            const float near = scale != 0
                                   ? round_small(std::clamp(fits_[i] / scale, symmetric_scale_min,
                                                            symmetric_scale_max))
                                   : 0;
            float error_min = std::numeric_limits<float>::infinity();
            for (const float s : {near, near - 1, near + 1}) {
                if (s < symmetric_scale_min || s > symmetric_scale_max) continue;
                std::array<std::int8_t, symmetric_elements> codes;
                const float error = encode_symmetric(part(i), scale * s, codes.data());
                if (!(error < error_min)) continue;
                error_min = error;
                block.scales[i] = static_cast<std::int8_t>(s);
                std::ranges::copy(codes, block.codes.begin() + i * symmetric_elements);
            }
            total += error_min;
        }
        return total;
    }

    bool refit(const SymmetricBlock& block, float& scale) const {
        double xa = 0, aa = 0;
        for (std::size_t i = 0; i < k_block_elements; ++i) {
            const double a = block.scales[i / symmetric_elements] * block.codes[i];
            xa += from_[i] * a;
            aa += a * a;
        }
        if (!(aa > 0)) return false;
        scale = static_cast<float>(xa / aa);
        return true;
    }

    std::span<const float, k_block_elements> from_;
    std::array<float, symmetric_parts> fits_{};
};

}  // namespace

AffineBlock fit_affine(std::span<const float, k_block_elements> from, unsigned bits) {
    return AffineSearch(from, bits).find();
}

SymmetricBlock fit_symmetric(std::span<const float, k_block_elements> from) {
    return SymmetricSearch(from).find();
}

}  // namespace holdfast::tensor
