// An evaluation as a table for people and as JSON for programs.
#pragma once

#include <string>

#include "tools/eval/evaluate.h"

namespace holdfast::eval {

// `corpus` says in a line what was read.
std::string to_table(const std::string& corpus, const Task& task, const Result& result);
std::string to_json(const std::string& corpus, const Task& task, const Result& result);

}  // namespace holdfast::eval
