#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "app/config/written.h"

namespace holdfast::config {

// Reads a YAML document. `file` only names it in places and messages. Unknown and duplicate keys,
// wrong shapes and documents that are too large or too deep become problems; what is sound is
// returned all the same, so that its values are checked too. Aliases are never expanded further
// than the table of settings reaches: a small file cannot become a large one.
std::vector<Written> read_yaml(std::string_view file, const std::string& text, Problems& problems);

}  // namespace holdfast::config
