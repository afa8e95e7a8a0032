#include <memory>
#include <string>

#include "app/commands/commands.h"
#include "app/commands/settings_flags.h"
#include "app/config/print.h"

namespace holdfast::commands {

void add_config(CLI::App& root, Shell& shell) {
    auto* command = root.add_subcommand("config", "Show, check and explain settings");
    command->require_subcommand(0, 1);
    auto flags = std::make_shared<SettingsFlags>(*command, config::serve);
    command->footer(
        std::string("Alone it prints the effective settings as YAML, each with its source.\n\n") +
        SettingsFlags::help);
    const auto load = [&shell, flags](const auto& print) {
        const auto loaded = flags->load();
        if (!loaded) return complain(shell, loaded.error().what, usage_exit);
        cli::write_text(shell.streams.output, print(*loaded));
        return 0;
    };

    auto* check = command->add_subcommand("check", "Check a YAML file (and the environment)");
    auto path = std::make_shared<std::string>();
    check->add_option("FILE", *path, "the file to check")->type_name("")->required();
    check->callback([&shell, flags, load, path] {
        flags->set_file(*path);
        shell.chosen = [load, path] {
            return load([path](const config::Loaded&) { return *path + ": ok\n"; });
        };
    });

    auto* reference =
        command->add_subcommand("reference", "Explain all settings, as a Markdown table");
    reference->callback([&shell] {
        shell.chosen = [&shell] {
            cli::write_text(shell.streams.output, config::print_reference());
            return 0;
        };
    });

    command->callback([&shell, load, check, reference] {
        if (check->parsed() || reference->parsed()) return;
        shell.chosen = [load] { return load(config::print_yaml); };
    });
}

}  // namespace holdfast::commands
