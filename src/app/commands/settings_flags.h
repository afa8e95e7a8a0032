#pragma once

#include <CLI/CLI.hpp>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "app/config/load.h"
#include "app/config/table.h"
#include "common/base/error.h"

namespace holdfast::commands {

// The flags by which a command takes settings: --config, --set, --isolated, and those that the
// table of settings has for this command. Must outlive the parsing.
class SettingsFlags {
public:
    SettingsFlags(CLI::App& command, config::Commands which);

    base::Result<config::Loaded> load() const;
    // The last lines of the help of a command with settings.
    static constexpr const char* help =
        "Flags win over environment (HOLDFAST_...), which wins over the file. `holdfast config`\n"
        "shows all settings with their values, `holdfast config reference` explains them.";

    // As if `--config path` had been given.
    void set_file(std::string path) { file_ = std::move(path); }

private:
    struct Given {
        const config::Setting* setting;
        std::vector<std::string> texts;
    };

    config::Commands which_;
    std::optional<std::string> file_;
    std::vector<std::string> sets_;
    bool isolated_ = false;
    std::deque<Given> given_;  // CLI11 keeps references
};

}  // namespace holdfast::commands
