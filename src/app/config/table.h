// The table of settings: each is described once, and reading YAML, environment and flags, the help
// texts, the printed configuration and the documentation all come from here. To add a setting, add
// its member, with its default, to the options of the room that obeys it, and its line to
// table.cpp.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "app/config/setting.h"

namespace holdfast::config {

std::span<const Setting> table();
const Setting* find(std::string_view name);
std::span<const std::string> names();

}  // namespace holdfast::config
