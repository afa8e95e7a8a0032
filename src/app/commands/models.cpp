#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "app/commands/commands.h"
#include "tools/hub/cache.h"
#include "tools/hub/progress.h"
#include "tools/hub/report.h"

namespace holdfast::commands {
namespace {

int list(const Shell& shell, bool json) {
    const auto cache = hub::Cache::find(hub::system_environment());
    if (!cache) return complain(shell, cache.error().what, usage_exit);
    const auto models = cache->list();
    cli::write_text(shell.streams.output,
                    json ? hub::models_json(models) : cli::printable(hub::models_table(models)));
    return 0;
}

int remove(const Shell& shell, const std::vector<std::string>& names) {
    const auto cache = hub::Cache::find(hub::system_environment());
    if (!cache) return complain(shell, cache.error().what, usage_exit);
    std::vector<hub::Reference> references;
    for (const std::string& name : names) {
        const auto reference = hub::parse_reference(name);
        if (!reference) return complain(shell, cli::printable(reference.error().what), usage_exit);
        references.push_back(*reference);
    }
    int exit_code = 0;
    for (const hub::Reference& reference : references) {
        const auto freed = cache->remove(reference);
        if (!freed) {
            exit_code = complain(shell, freed.error().what);
            continue;
        }
        cli::write_text(
            shell.streams.output,
            fmt::format("{} removed, {} freed\n", reference.text(), hub::format_size(*freed)));
    }
    return exit_code;
}

int print_path(const Shell& shell, const std::string& name) {
    const auto reference = hub::parse_reference(name);
    if (!reference) return complain(shell, cli::printable(reference.error().what), usage_exit);
    const auto path = hub::find_pulled(hub::system_environment(), name);
    if (!path)
        return complain(shell, fmt::format("{} was not pulled, or not completely\n  next: holdfast "
                                           "pull {}",
                                           reference->text(), reference->text()));
    cli::write_text(shell.streams.output, *path + "\n");
    return 0;
}

}  // namespace

void add_models(CLI::App& root, Shell& shell) {
    auto* command = root.add_subcommand("models", "List and remove models that were pulled");
    command->require_subcommand(0, 1);
    command->footer(
        "They lie in $HOLDFAST_CACHE, else in $XDG_CACHE_HOME/holdfast, else in "
        "~/.cache/holdfast.");
    auto format = std::make_shared<std::string>("table");
    const auto add_format = [&format](CLI::App& to) {
        to.add_option("-o,--output", *format, "table or json [table]")
            ->type_name("FORMAT")
            ->check(CLI::IsMember({"table", "json"}));
    };
    add_format(*command);
    const auto choose_list = [&shell, format] {
        shell.chosen = [&shell, format] { return list(shell, *format == "json"); };
    };
    auto* listing = command->add_subcommand("list", "List them; the same as `models` alone");
    add_format(*listing);
    listing->callback(choose_list);

    auto* removal = command->add_subcommand("remove", "Remove models and unfinished pulls");
    auto names = std::make_shared<std::vector<std::string>>();
    removal->add_option("MODEL", *names, "ORG/NAME[@REVISION][:FILE]")->type_name("")->required();
    removal->callback(
        [&shell, names] { shell.chosen = [&shell, names] { return remove(shell, *names); }; });

    auto* path = command->add_subcommand("path", "Print where a complete one lies");
    auto name = std::make_shared<std::string>();
    path->add_option("MODEL", *name, "ORG/NAME[@REVISION][:FILE]")->type_name("")->required();
    path->callback(
        [&shell, name] { shell.chosen = [&shell, name] { return print_path(shell, *name); }; });

    command->callback([choose_list, listing, removal, path] {
        if (!listing->parsed() && !removal->parsed() && !path->parsed()) choose_list();
    });
}

}  // namespace holdfast::commands
