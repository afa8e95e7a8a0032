#include "service/gateway/gateway.h"

#include <memory>

#include "app/commands/commands.h"
#include "app/commands/settings_flags.h"
#include "common/telemetry/log.h"

namespace holdfast::commands {
namespace {

// External instances are known from the settings; the keeper's own come with the roster.
base::Result<std::vector<fleet::Target>> targets_of(const config::Settings& settings) {
    std::vector<fleet::Target> targets;
    for (const config::External& external : settings.external) {
        fleet::Target target;
        target.id = external.name;
        target.model = external.model;
        HF_TRY_ASSIGN(target.url, http::Url::parse(external.url));
        HF_TRY_ASSIGN(target.kind, upstream::parse_instance_kind(external.kind));
        targets.push_back(std::move(target));
    }
    return targets;
}

base::Result<gateway::Options> options_of(const config::Settings& settings) {
    gateway::Options options;
    options.listen = settings.gateway.listen;
    options.loops = settings.gateway.threads;
    options.policy = settings.gateway.balance;
    options.timeouts = {.connect = settings.timeouts.connect,
                        .place = settings.timeouts.place,
                        .resume = settings.timeouts.resume,
                        .first_token = settings.timeouts.first_token,
                        .token_gap = settings.timeouts.token_gap,
                        .total = settings.timeouts.total};
    options.retry.ratio = settings.retry.ratio;
    options.retry.min_per_second = settings.retry.min_per_second;
    options.fruitless_attempts_max = settings.retry.attempts_max;
    options.drain = settings.keeper.drain;
    options.health.probe_every = settings.health.probe_every;
    options.health.probe_silence_max = settings.health.probe_silence_max;
    options.health.progress_silence_max = settings.health.progress_silence_max;
    options.health.sick_max = settings.health.sick_max;
    options.health.breaker_ms = settings.health.breaker;
    HF_TRY_ASSIGN(options.targets, targets_of(settings));
    return options;
}

int run_gateway(const config::Settings& settings, const Shell& shell) {
    auto options = options_of(settings);
    if (!options) return complain(shell, options.error().what, usage_exit);
    auto level = telemetry::parse_log_level(settings.log.level);
    if (!level) return complain(shell, level.error().what, usage_exit);
    telemetry::LogOptions log_options;
    log_options.level = *level;
    log_options.role = "gateway";
    log_options.fd = shell.streams.error;
    const telemetry::Log log(log_options);
    options->add_metrics = [&log](telemetry::Registry& registry) { log.add_metrics(registry); };
    const auto ended = gateway::run(*std::move(options));
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
