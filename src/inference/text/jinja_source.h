// The source of a Jinja template in one canonical spelling, so that templates that differ in layout
// alone compare equal. Nothing is evaluated.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"

namespace holdfast::text {

// Stands for the quotation marks of a string in canonical spelling. Sources that contain it are
// refused, so that no string's content can be taken for code.
inline constexpr char jinja_quote = '\x02';

// The statements, expressions and texts of `source` in order, each "%body", "=body" or "\"text".
// Bodies have no white space but single spaces between words; strings are decoded and stand between
// `jinja_quote`s. White space around tags is trimmed as transformers does it (trim_blocks,
// lstrip_blocks and the minus signs); comments and empty texts are left out. Linear time.
base::Result<std::vector<std::string>> canonical_jinja(std::string_view source);

// An item as a reader knows it, at most `bytes_max` bytes of it.
std::string show_jinja_item(std::string_view item, std::size_t bytes_max);

}  // namespace holdfast::text
