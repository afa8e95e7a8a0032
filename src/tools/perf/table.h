// Numbers for people.
#pragma once

#include <string>

namespace holdfast::perf {

// "3.55 GB": decimal units, three digits.
std::string format_bytes(double bytes);

// A number with three significant digits and without an exponent: 2.62, 16.9, 301, 5402.
std::string format_rate(double value);

}  // namespace holdfast::perf
