// Settings from all sources: defaults, then the YAML file, then the environment, then flags. The
// later one wins, setting by setting; a list is replaced as a whole.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "app/config/settings.h"
#include "common/base/error.h"
#include "common/cores/machine.h"

namespace holdfast::config {

using Environment = std::vector<std::pair<std::string, std::string>>;  // name and value

// What load() needs to know about the machine.
struct World {
    Environment environment;
    std::string current_folder;
    std::string executable_folder;
    cores::Machine machine;
    std::function<bool(const std::string& path)> is_folder;
    std::function<base::Result<std::string>(const std::string& path)> read_file;
};
World system_world();

struct Flag {
    std::string name;  // "gateway.listen"
    std::string text;
    std::string where;  // "--listen"
};

struct Sources {
    std::optional<std::string> file;  // else the variable HOLDFAST_CONFIG, else none
    std::vector<Flag> flags;          // a list collects its elements
    bool isolated = false;            // flags alone: no file and no environment
    bool one_worker = false;          // worker.instances is 1 unless a source says more
};

struct Loaded {
    Settings settings;
    // Where each value came from, in the table's order: "default", "holdfast.yaml:3:5",
    // "HOLDFAST_LOG_LEVEL", "--listen".
    std::vector<std::string> sources;
};

// Everything that is wrong comes in one Error (Code::invalid), a line each.
base::Result<Loaded> load(const Sources& sources, const World& world);

// The flags that give another process of this program exactly these settings, whatever its
// environment says: --isolated, and --set NAME=VALUE for each that is not the built-in default.
std::vector<std::string> to_flags(const Settings& settings);

// Variables that begin with HOLDFAST_ and are no settings.
inline constexpr const char* config_variable = "HOLDFAST_CONFIG";    // path of the YAML file
inline constexpr const char* url_variable = "HOLDFAST_URL";          // service that clients talk to
inline constexpr const char* api_key_variable = "HOLDFAST_API_KEY";  // that clients send
inline constexpr const char* cache_variable = "HOLDFAST_CACHE";      // folder of pulled models
inline constexpr const char* roster_variable = "HOLDFAST_ROSTER_FD";  // docs/protocol.md

}  // namespace holdfast::config
