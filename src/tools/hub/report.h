// What is in the cache, for people and for programs.
#pragma once

#include <string>
#include <vector>

#include "tools/hub/cache.h"

namespace holdfast::hub {

// Columns MODEL, REVISION, SIZE, STATE, PATH; a line that says so if there is nothing.
std::string models_table(const std::vector<Pulled>& models);
// An array of objects: repo, revision, commit, file, endpoint, state ("complete", "partial" or
// "damaged"), bytes (on the disk), pulled_at, path.
std::string models_json(const std::vector<Pulled>& models);

}  // namespace holdfast::hub
