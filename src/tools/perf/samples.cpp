#include "tools/perf/samples.h"

#include <algorithm>

#include "common/base/assert.h"

namespace holdfast::perf {

Summary summarize(std::vector<double> samples) {
    HF_ASSERT(!samples.empty());
    std::ranges::sort(samples);
    const std::size_t middle = samples.size() / 2;
    const double median =
        samples.size() % 2 == 1 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
    return {median, samples.front(), samples.back()};
}

}  // namespace holdfast::perf
