// A measurement as a table for people and as JSON for programs.
#pragma once

#include <string>

#include "tools/perf/measure.h"

namespace holdfast::perf {

std::string to_table(const Subject& subject, const Options& options, const Report& report);

// One object: what was measured, and for each number of threads every round's figure.
std::string to_json(const Subject& subject, const Options& options, const Report& report);

}  // namespace holdfast::perf
