// Models that `holdfast pull` has fetched, by their names.
#pragma once

#include <optional>
#include <string>

#include "app/config/settings.h"
#include "common/base/error.h"

namespace holdfast::commands {

// Where a model "ORG/NAME[@REVISION][:FILE]" is no existing path and was pulled, its place in the
// cache. `settings_file` is the YAML file that paths may be relative to.
void use_pulled_models(config::Settings& settings, const std::optional<std::string>& settings_file);

// Where the model lies that a command was given: `text` itself if there is such a path, the place
// of a pulled model if it is the name of one. not_found otherwise, with advice.
base::Result<std::string> find_model(const std::string& text);

// What to do about a path that does not exist.
std::string advice_on_missing(const std::string& path);

}  // namespace holdfast::commands
