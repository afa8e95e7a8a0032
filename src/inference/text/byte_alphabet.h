// The printable alphabet in which byte-level vocabularies spell their tokens: one character a byte.
// Defined by GPT-2 (Radford et al., 2019): bytes that print in Latin-1 stand for themselves, the
// others take the code points from U+0100 on, in order.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace holdfast::text {

// The bytes that `spelling` stands for; nothing if it has a character outside the alphabet.
std::optional<std::string> bytes_of_spelling(std::string_view spelling);

// The other way round.
std::string spelling_of_bytes(std::string_view bytes);

}  // namespace holdfast::text
