#include <memory>

#include "app/commands.h"
#include "app/settings_flags.h"
#include "telemetry/log.h"
#include "worker/run.h"

namespace holdfast::app {
namespace {

worker::Options options_of(const config::Settings& settings) {
    worker::Options options;
    options.model_folder = settings.worker.models.front().folder;
    options.model_name = settings.worker.models.front().name;
    options.listen = settings.worker.listen;
    options.threads = settings.worker.threads;
    options.kv_tokens = settings.engine.kv_tokens;
    options.batch_tokens_max = settings.engine.batch_tokens_max;
    options.engine.running_max = settings.engine.running_max;
    options.engine.waiting_max = settings.engine.waiting_max;
    options.engine.prefill_tokens_max = settings.engine.prefill_tokens_max;
    options.engine.prefix_cache = settings.engine.prefix_cache;
    // The gateway decides how long a slow client may take; a paused gateway is not a lost one.
    options.http.write_ms_max = std::chrono::hours(1);
    options.drain_ms_max = settings.keeper.drain;
    options.version = HOLDFAST_VERSION;
    return options;
}

int run_worker(const config::Settings& settings, const Shell& shell) {
    if (settings.worker.models.size() != 1)
        return complain(shell, "a worker serves exactly one model: name it with --model DIR",
                        usage_exit);
    auto level = telemetry::parse_log_level(settings.log.level);
    if (!level) return complain(shell, level.error().what, usage_exit);
    telemetry::LogOptions log_options;
    log_options.level = *level;
    log_options.role = "worker";
    const telemetry::Log log(log_options);
    const auto ended = worker::run(options_of(settings));
    return ended ? 0 : complain(shell, ended.error().what);
}

}  // namespace

void add_worker(CLI::App& root, Shell& shell) {
    auto* command = root.add_subcommand(
        "worker", "Run one instance alone: a model behind OpenAI's API, for any balancer");
    auto flags = std::make_shared<SettingsFlags>(*command, config::worker);
    command->footer(std::string("`holdfast serve` starts several of them by itself. SIGTERM lets "
                                "running answers end; a second one stops at once.\n\n") +
                    SettingsFlags::help);
    command->callback([&shell, flags] {
        shell.chosen = [&shell, flags] {
            const auto loaded = flags->load();
            if (!loaded) return complain(shell, loaded.error().what, usage_exit);
            return run_worker(loaded->settings, shell);
        };
    });
}

}  // namespace holdfast::app
