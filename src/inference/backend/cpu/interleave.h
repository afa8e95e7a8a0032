// How weights that are not quantized get from rows into a panel: side by side, input for input.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "inference/backend/cpu/kernels.h"

namespace holdfast::cpu {

// The rows of a panel's outputs; null for padding, whose places are left alone.
using PanelRows = std::array<const std::byte*, panel_outputs>;

// Panels of 2-byte elements hold 16 words of 32 bits for each input, and `pairs` says which two
// rows share one, the first in the low half: neighbours, or output i and output 16 + i.
enum class Pairs { neighbours, halves };

// Writes rows of `inputs` elements of 2 or 4 bytes to `panel`, which begins on a cache line. All of
// it is visible to other threads after what the caller does to tell them.
void interleave_halves(const PanelRows& rows, std::uint32_t inputs, Pairs pairs, std::byte* panel);
void interleave_words(const PanelRows& rows, std::uint32_t inputs, std::byte* panel);

}  // namespace holdfast::cpu
