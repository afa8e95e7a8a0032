// The table of settings as text for people.
#pragma once

#include <string>

#include "app/config/load.h"

namespace holdfast::config {

// A YAML document that load() reads back to the same settings, each line with its source.
std::string print_yaml(const Loaded& loaded);
// A Markdown table of all settings with default, limits, variable and meaning.
std::string print_reference();

}  // namespace holdfast::config
