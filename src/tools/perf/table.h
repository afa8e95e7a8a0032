// Columns of text for people.
#pragma once

#include <string>
#include <vector>

namespace holdfast::perf {

// The first row names the columns. Columns of `left` columns from the left are aligned to the left,
// the others, numbers, to the right. Widths count characters of UTF-8.
std::string align(const std::vector<std::vector<std::string>>& rows, std::size_t left);

// "3.55 GB": decimal units, three digits.
std::string format_bytes(double bytes);

// A number with three significant digits and without an exponent: 2.62, 16.9, 301, 5402.
std::string format_rate(double value);

}  // namespace holdfast::perf
