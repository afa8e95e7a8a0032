#include "app/commands/serve.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string_view>

#include "app/commands/pulled_models.h"
#include "app/commands/settings_flags.h"
#include "common/base/clock.h"
#include "common/base/notify.h"
#include "common/base/random.h"
#include "common/cores/placement.h"
#include "common/http/server.h"

namespace holdfast::commands {
namespace {

using base::Code;
using base::fail;
using config::Settings;

// "a" ... "z", "aa", "ab", ...
std::string instance_id(std::size_t index) {
    std::string id;
    for (++index; index > 0; index = (index - 1) / 26)
        id.insert(id.begin(), static_cast<char>('a' + (index - 1) % 26));
    return id;
}

// What would let every worker fail at its start is said once, before anything starts.
base::Result<> check_models(const Settings& settings) {
    if (settings.workers.models.empty() && settings.gateway.targets.empty())
        return fail(
            Code::not_found,
            "there is no model to serve: the bundled models/tiny-r1 was not found\n  next: name "
            "a model folder with --model DIR, or a running server with --instance URL");
    for (const config::Model& model : settings.workers.models) {
        struct stat info = {};
        if (::stat(model.path.c_str(), &info) != 0)
            return fail(Code::not_found, "model {}: there is no {}\n  next: {}", model.name,
                        model.path, advice_on_missing(model.path));
        const auto file = S_ISDIR(info.st_mode) ? model.path + "/config.json" : model.path;
        if (::access(file.c_str(), R_OK) != 0)
            return fail(
                Code::not_found,
                "model {}: {} is missing or unreadable\n  next: --model takes a folder in the "
                "Hugging Face layout, with config.json, tokenizer.json and *.safetensors, or a "
                "GGUF file",
                model.name, file);
    }
    return {};
}

base::Result<base::UniqueFd> take_port(const Settings& settings) {
    if (auto inherited = base::inherited_listener()) return *std::move(inherited);
    auto listener = http::listen_tcp(settings.gateway.listen);
    if (listener) return listener;
    const auto port = settings.gateway.listen.substr(settings.gateway.listen.rfind(':') + 1);
    return fail(
        Code::unavailable,
        "{}\n  next: choose another address with --listen, or find out who has this one with "
        "`ss -ltnp 'sport = :{}'`",
        listener.error().what, port);
}

// CPUs that are not there are said once as well.
base::Result<> check_cores(const Settings& settings) {
    HF_TRY_ASSIGN(const auto choice, cores::parse_choice(settings.workers.cores));
    if (choice.share) return fail(Code::invalid, "is a share, which is for one `holdfast worker`");
    HF_TRY(cores::cpus_of(choice, cores::this_machine()));
    return {};
}

// A URL that works on this machine; a wildcard address is no place to connect to.
std::string url_of(int listener) {
    auto address = http::local_address(listener);
    if (address.starts_with("0.0.0.0:")) address.replace(0, 7, "127.0.0.1");
    if (address.starts_with("[::]:")) address.replace(0, 4, "[::1]");
    return "http://" + address;
}

bool is_loopback(int listener) {
    const auto address = http::local_address(listener);
    return address.starts_with("127.") || address.starts_with("[::1]");
}

std::vector<std::string> command_line(std::string_view command, const Settings& settings) {
    std::vector<std::string> out{std::string(command)};
    for (std::string& flag : config::to_flags(settings)) out.push_back(std::move(flag));
    return out;
}

}  // namespace

keeper::Options plan_service(const Settings& settings) {
    keeper::Options options = settings.keeper;
    Settings without_cores = settings;
    without_cores.workers.cores = config::Workers().cores;  // a gateway computes nothing
    options.gateway_arguments = command_line("gateway", without_cores);
    const std::size_t workers = settings.workers.models.size() * settings.workers.instances;
    for (const config::Model& model : settings.workers.models) {
        Settings own = settings;
        own.workers.models = {model};
        own.worker.listen = "127.0.0.1:0";
        own.gateway.targets.clear();
        for (std::uint32_t i = 0; i < settings.workers.instances; ++i) {
            const cores::Share share{.index = static_cast<std::uint32_t>(options.workers.size()),
                                     .count = static_cast<std::uint32_t>(workers)};
            own.workers.cores = cores::format_share(settings.workers.cores, share);
            options.workers.push_back(
                {instance_id(options.workers.size()), model.name, command_line("worker", own)});
        }
    }
    options.external_instances = settings.gateway.targets.size();
    return options;
}

int serve(const Settings& settings, const Shell& shell, const std::string& program) {
    if (const auto sound = check_models(settings); !sound)
        return complain(shell, sound.error().what);
    if (const auto cores = check_cores(settings); !cores)
        return complain(shell, "worker.cores: " + cores.error().what, usage_exit);
    auto folder = keeper::StateFolder::open(settings.state_dir);
    if (!folder) return complain(shell, folder.error().what);
    auto listener = take_port(settings);
    if (!listener) return complain(shell, listener.error().what);

    keeper::Options options = plan_service(settings);
    options.program = program;
    options.url = url_of(listener->get());
    const auto say = [&shell](std::string_view text) {
        cli::write_text(shell.streams.output, fmt::format("holdfast: {}\n", text));
    };
    if (!is_loopback(listener->get()))
        say("warning: other machines can reach this service, and it asks nobody for a key");
    say(fmt::format("starting on {}; logs are in {}/logs", options.url, settings.state_dir));
    const base::SystemClock clock;
    base::SystemEntropy entropy;
    auto keeper = keeper::Keeper::make(std::move(options), *std::move(folder), *std::move(listener),
                                       shell.streams.output, clock, entropy);
    if (!keeper) return complain(shell, keeper.error().what);
    return (*keeper)->run();
}

void add_serve(CLI::App& root, Shell& shell) {
    auto* command =
        root.add_subcommand("serve", "Serve models: starts and keeps a gateway and the instances");
    auto flags = std::make_shared<SettingsFlags>(*command, config::serve);
    command->footer(
        std::string("Runs until Ctrl-C or SIGTERM, which lets running answers end; a second one "
                    "stops at once.\n\n") +
        SettingsFlags::help);
    command->callback([&shell, flags] {
        shell.chosen = [&shell, flags] {
            const auto loaded = flags->load();
            if (!loaded) return complain(shell, loaded.error().what, usage_exit);
            return serve(loaded->settings, shell);
        };
    });
}

}  // namespace holdfast::commands
