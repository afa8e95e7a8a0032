#include "inference/worker/run.h"

#include <fmt/format.h>

#include <memory>

#include "app/commands/commands.h"
#include "app/commands/settings_flags.h"
#include "common/cores/placement.h"
#include "common/telemetry/log.h"

namespace holdfast::commands {
namespace {

int work(const config::Settings& settings, const Shell& shell) {
    const std::vector<config::Model>& models = settings.workers.models;
    if (models.size() != 1)
        return complain(shell,
                        fmt::format("a worker serves one model, and the settings name {}\n  next: "
                                    "name one with --model DIR",
                                    models.size()),
                        usage_exit);
    worker::Options options = settings.worker;
    auto placement = [&]() -> base::Result<cores::Placement> {
        HF_TRY_ASSIGN(const auto choice, cores::parse_choice(settings.workers.cores));
        return cores::place(choice, options.threads, cores::this_machine());
    }();
    if (!placement) return complain(shell, "worker.cores: " + placement.error().what, usage_exit);
    options.placement = *std::move(placement);
    options.model_path = models[0].path;
    options.model_name = models[0].name;
    options.drain = settings.keeper.limits.drain_max;
    options.version = HOLDFAST_VERSION;

    telemetry::LogOptions log_options = settings.log;
    log_options.role = "worker";
    log_options.fd = shell.streams.error;
    const telemetry::Log log(log_options);
    options.add_metrics = [&log](telemetry::Registry& registry) { log.add_metrics(registry); };
    const auto served = worker::run(std::move(options));
    return served ? 0 : complain(shell, served.error().what);
}

}  // namespace

void add_worker(CLI::App& root, Shell& shell) {
    auto* command = root.add_subcommand("worker", "Run one instance of one model alone");
    auto flags = std::make_shared<SettingsFlags>(*command, config::worker);
    command->footer(
        std::string(
            "An instance speaks OpenAI's API and works behind any load balancer; `holdfast serve`\n"
            "starts several and a gateway before them.\n\n") +
        SettingsFlags::help);
    command->callback([&shell, flags] {
        shell.chosen = [&shell, flags] {
            const auto loaded = flags->load();
            if (!loaded) return complain(shell, loaded.error().what, usage_exit);
            return work(loaded->settings, shell);
        };
    });
}

}  // namespace holdfast::commands
