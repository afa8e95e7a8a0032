#include "app/commands/settings_flags.h"

#include <fmt/format.h>

#include "app/commands/pulled_models.h"

namespace holdfast::commands {

SettingsFlags::SettingsFlags(CLI::App& command, config::Commands which) : which_(which) {
    for (const config::Setting& setting : config::table()) {
        if ((setting.flag_commands & which) == 0) continue;
        Given& given = given_.emplace_back(Given{&setting, {}});
        auto help = std::string(setting.help);
        if (const auto fallback = config::default_text(setting);
            !fallback.empty() && !setting.automatic)
            help += fmt::format(" [{}]", fallback);
        // A worker has one model.
        if (config::is_list(setting) && which != config::worker) help += "; repeatable";
        auto* option = command.add_option(std::string(setting.flag), given.texts, help);
        option->type_name(std::string(setting.flag_value))->type_size(1)->allow_extra_args(false);
        option->multi_option_policy(config::is_list(setting) ? CLI::MultiOptionPolicy::TakeAll
                                                             : CLI::MultiOptionPolicy::TakeLast);
        option->group("Settings");
    }
    command
        .add_option("--config", file_,
                    "YAML file with settings; the variable HOLDFAST_CONFIG names one too")
        ->type_name("FILE")
        ->group("Settings");
    command
        .add_option("--set", sets_, "any setting, such as --set timeouts.total=5min; repeatable")
        ->type_name("NAME=VALUE")
        ->type_size(1)
        ->allow_extra_args(false)
        ->group("Settings");
    command
        .add_flag("--isolated", isolated_,
                  "take settings from flags alone: no file, no environment")
        ->group("Settings");
}

base::Result<config::Loaded> SettingsFlags::load() const {
    config::Sources sources{
        .file = file_, .flags = {}, .isolated = isolated_, .one_worker = which_ == config::worker};
    for (const Given& given : given_)
        for (const std::string& text : given.texts)
            sources.flags.push_back(
                {std::string(given.setting->name), text, std::string(given.setting->flag)});
    for (const std::string& set : sets_) {
        const auto equals = set.find('=');
        if (equals == std::string::npos)
            return base::fail(base::Code::invalid, "--set {}: must be NAME=VALUE",
                              set.substr(0, 100));
        sources.flags.push_back({set.substr(0, equals), set.substr(equals + 1), "--set"});
    }
    if (isolated_) sources.file.reset();
    auto loaded = config::load(sources, config::system_world());
    if (loaded && !isolated_) use_pulled_models(loaded->settings, sources.file);
    return loaded;
}

}  // namespace holdfast::commands
