#include "service/gateway/gateway.h"

#include <memory>

#include "app/commands/commands.h"
#include "app/commands/settings_flags.h"
#include "common/telemetry/log.h"

namespace holdfast::commands {
namespace {

int run_gateway(const config::Settings& settings, const Shell& shell) {
    telemetry::LogOptions log_options = settings.log;
    log_options.role = "gateway";
    log_options.fd = shell.streams.error;
    const telemetry::Log log(log_options);
    gateway::Options options = settings.gateway;
    options.drain = settings.keeper.limits.drain_max;
    options.add_metrics = [&log](telemetry::Registry& registry) { log.add_metrics(registry); };
    const auto ended = gateway::run(std::move(options));
    return ended ? 0 : complain(shell, ended.error().what);
}

}  // namespace

void add_gateway(CLI::App& root, Shell& shell) {
    auto* command = root.add_subcommand(
        "gateway", "Run a gateway alone, in front of instances that others run");
    auto flags = std::make_shared<SettingsFlags>(*command, config::gateway);
    command->footer(std::string("`holdfast serve` runs one by itself. SIGTERM lets running answers "
                                "end; a second one stops at once.\n\n") +
                    SettingsFlags::help);
    command->callback([&shell, flags] {
        shell.chosen = [&shell, flags] {
            const auto loaded = flags->load();
            if (!loaded) return complain(shell, loaded.error().what, usage_exit);
            return run_gateway(loaded->settings, shell);
        };
    });
}

}  // namespace holdfast::commands
