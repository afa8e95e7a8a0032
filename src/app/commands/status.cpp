#include "tools/cli/status.h"

#include <memory>

#include "app/commands/client_flags.h"
#include "app/commands/commands.h"
#include "common/base/clock.h"

namespace holdfast::commands {

void add_status(CLI::App& root, Shell& shell) {
    struct Flags {
        ClientFlags client;
        std::string format = "table";
    };
    auto* command = root.add_subcommand("status", "Show the instances of a running service");
    auto flags = std::make_shared<Flags>();
    ClientFlags::add(*command, flags->client);
    command->add_option("-o,--output", flags->format, "table or json [table]")
        ->type_name("FORMAT")
        ->check(CLI::IsMember({"table", "json"}));
    command->callback([&shell, flags] {
        shell.chosen = [&shell, flags] {
            const cli::StatusOptions options{.url = flags->client.url,
                                             .api_key = flags->client.api_key,
                                             .json = flags->format == "json"};
            return cli::run_status(options, shell.streams, base::SystemClock());
        };
    });
}

}  // namespace holdfast::commands
