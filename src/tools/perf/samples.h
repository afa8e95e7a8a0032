// Measured numbers and what they have in common.
#pragma once

#include <vector>

namespace holdfast::perf {

struct Summary {
    double median = 0, min = 0, max = 0;
};

// Of at least one number; of an even count the median lies between the middle two.
Summary summarize(std::vector<double> samples);

}  // namespace holdfast::perf
