#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace holdfast::base {

// The fewest insertions, deletions, replacements and swaps of neighbours that turn one text into
// the other (optimal string alignment). O(|a| * |b|): pass short texts.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate that somebody who wrote `wrong` most likely meant, or nothing if none is near.
// Dotted names also compare by their last part, for a key without its section or in a wrong one.
std::optional<std::string_view> nearest(std::string_view wrong,
                                        std::span<const std::string> candidates);

// `; did you mean "x"?`, or an empty text.
std::string suggestion(std::string_view wrong, std::span<const std::string> candidates);

}  // namespace holdfast::base
