#include "app/commands/commands.h"

namespace holdfast::commands {

void add_version(CLI::App& root, Shell& shell) {
    auto* command = root.add_subcommand("version", "Print the version");
    command->callback([&shell] {
        shell.chosen = [&shell] {
            cli::write_text(shell.streams.output, "holdfast " HOLDFAST_VERSION "\n");
            return 0;
        };
    });
    root.set_version_flag("-V,--version", "holdfast " HOLDFAST_VERSION, "Print the version");
}

}  // namespace holdfast::commands
