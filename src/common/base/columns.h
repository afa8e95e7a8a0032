// Columns of text for people.
#pragma once

#include <string>
#include <vector>

namespace holdfast::base {

// The first row names the columns. `left` columns from the left are aligned to the left, the
// others, numbers, to the right. Widths count characters of UTF-8.
std::string align(const std::vector<std::vector<std::string>>& rows, std::size_t left);

}  // namespace holdfast::base
