// Values as people write them: `2s`, `16MiB`, `0.1`, `on`, `127.0.0.1:8080`. Every source (file,
// environment, flags) hands over text, and this is the only place that reads or prints it. Errors
// are one clause that fits behind "NAME: ".
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "app/config/settings.h"
#include "common/base/error.h"
#include "service/fleet/options.h"

namespace holdfast::config {

base::Result<std::uint64_t> parse_integer(std::string_view text);
base::Result<double> parse_number(std::string_view text);
base::Result<bool> parse_switch(std::string_view text);
// A number with one of the units ms, s, min (or m), h, d. The unit is required.
base::Result<std::chrono::milliseconds> parse_duration(std::string_view text);
// A number with one of the units B, KiB, MiB, GiB, TiB, kB, MB, GB, TB. The unit is required.
base::Result<std::uint64_t> parse_bytes(std::string_view text);
// HOST:PORT, with an IPv6 address in brackets.
base::Result<std::string> parse_address(std::string_view text);
// PATH[=NAME]; the name stays empty where it is left out.
base::Result<Model> parse_model(std::string_view text);
// URL[,kind=KIND][,model=NAME][,name=ID][,weight=NUMBER]; the name stays empty where it is left
// out.
base::Result<fleet::Target> parse_target(std::string_view text);

std::string format_duration(std::chrono::milliseconds value);
std::string format_bytes(std::uint64_t value);
std::string format_model(const Model& value);
std::string format_target(const fleet::Target& value);

}  // namespace holdfast::config
