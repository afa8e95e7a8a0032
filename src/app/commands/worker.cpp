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
    if (settings.worker.models.size() != 1)
        return complain(
            shell,
            fmt::format("a worker serves one model, and the settings name {}\n  next: name "
                        "one with --model DIR",
                        settings.worker.models.size()),
            usage_exit);
    const auto level = telemetry::parse_log_level(settings.log.level);
    if (!level) return complain(shell, level.error().what, usage_exit);
    const config::Model& model = settings.worker.models[0];
    const config::Settings::Engine& engine = settings.engine;

    auto placement = [&]() -> base::Result<cores::Placement> {
        HF_TRY_ASSIGN(const auto choice, cores::parse_choice(settings.worker.cores));
        return cores::place(choice, settings.worker.threads, cores::this_machine());
    }();
    if (!placement) return complain(shell, "worker.cores: " + placement.error().what, usage_exit);

    worker::Options options;
    options.model_path = model.path;
    options.model_name = model.name;
    if (settings.worker.chat_template != "auto")
        options.chat_template = settings.worker.chat_template;
    options.listen = settings.worker.listen;
    options.threads = settings.worker.threads;
    options.placement = *std::move(placement);
    options.tokens_per_second = settings.worker.tokens_per_second;
    options.kv_tokens = engine.kv_tokens;
    options.batch_tokens_max = engine.batch_tokens_max;
    options.weights = engine.weights;
    options.kv_type = engine.kv_type;
    options.numerics = engine.numerics;
    options.engine.running_max = engine.running_max;
    options.engine.waiting_max = engine.waiting_max;
    options.engine.prefill_tokens_max = engine.prefill_tokens_max;
    options.engine.prefix_cache = engine.prefix_cache;
    options.engine.speculation_tokens_max = engine.speculation_tokens_max;
    options.engine.batch_wait = engine.batch_wait;
    // How slow a client may be is the gateway's business: one that is paused is not lost.
    options.http.write_ms_max = std::chrono::hours(1);
    options.drain_ms_max = settings.keeper.drain;
    options.version = HOLDFAST_VERSION;

    telemetry::LogOptions log_options;
    log_options.level = *level;
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
