#include "app/commands/commands.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <memory>

#include "common/base/suggest.h"

namespace holdfast::commands {
namespace {

using AddCommand = void (*)(CLI::App&, Shell&);

// All commands, in the order of the help text.
constexpr AddCommand commands[] = {add_serve,  add_chat,   add_pull,   add_models,   add_status,
                                   add_plan,   add_perf,   add_eval,   add_quantize, add_gateway,
                                   add_worker, add_config, add_version};

// The innermost command that was given.
CLI::App& innermost(CLI::App& app) {
    const auto given = app.get_subcommands();
    return given.empty() ? app : innermost(*given.front());
}

// What could have been meant by a word that nobody expects.
std::string suggestion_for(CLI::App& root, const std::vector<std::string>& arguments) {
    std::vector<std::string> known;
    CLI::App& command = innermost(root);
    for (const CLI::Option* option : command.get_options())
        for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
    for (const CLI::App* sub : command.get_subcommands(nullptr)) known.push_back(sub->get_name());
    const auto unexpected = root.remaining(true);
    for (const std::string& argument : arguments) {
        if (std::ranges::find(unexpected, argument) == unexpected.end()) continue;
        const auto word = argument.substr(0, argument.find('='));
        if (auto found = base::suggestion(word, known); !found.empty()) return found;
    }
    return {};
}

// Connections and models take file descriptors; the usual soft limit of 1024 is for programs that
// select(). Where raising it is refused the old one stays, and servers admit fewer connections.
void raise_file_limit() {
    rlimit limit = {};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 1 << 20);
    static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

int usage_error(CLI::App& root, const Shell& shell, std::string_view problem) {
    auto path = std::string("holdfast");
    if (CLI::App& command = innermost(root); &command != &root) path += " " + command.get_name();
    return complain(shell, fmt::format("{}\n  next: {} --help", problem, path), usage_exit);
}

// Options as people read them: the library's types and ranges stay out.
class HelpFormatter final : public CLI::Formatter {
public:
    std::string make_option_opts(const CLI::Option* option) const override {
        const auto type = option->get_type_name();
        const auto range = type.find(" in [");
        const auto name =
            type.substr(0, range == type.npos ? type.find(":{") : type.rfind(':', range));
        return option->get_type_size() == 0 || name.empty() ? std::string() : " " + name;
    }
};

}  // namespace

int complain(const Shell& shell, std::string_view text, int exit_code) {
    cli::write_text(shell.streams.error, fmt::format("holdfast: {}\n", text));
    return exit_code;
}

int complain(const Shell& shell, const base::Error& error) {
    return complain(shell, error.what, error.origin == base::Origin::client ? usage_exit : 1);
}

int run(const std::vector<std::string>& arguments, cli::Streams streams) {
    Shell shell{.streams = streams, .chosen = nullptr};
    CLI::App root(
        "Holdfast serves DeepSeek-R1 models so that nobody notices a failure: several instances\n"
        "of a model, one address, and a running answer outlives the death of any instance.",
        "holdfast");
    root.require_subcommand(0, 1);
    root.formatter(std::make_shared<HelpFormatter>());
    root.set_help_flag("-h,--help", "Show this text, or that of a command");
    for (const AddCommand add : commands) add(root, shell);
    // Set last: commands take over the text that stands when they are added.
    root.footer(
        "Start here:\n"
        "  holdfast serve                  serve the bundled model on http://127.0.0.1:8080\n"
        "  holdfast chat \"Why is 7 prime?\"  ask it something\n\n"
        "`holdfast COMMAND --help` explains a command.\n"
        "Exit codes: 0 done, 2 wrong command line or settings, 1 everything else that failed, 130\n"
        "and 143 interrupted (Ctrl-C, SIGTERM).");
    try {
        auto reversed = arguments;  // as CLI11 wants them
        std::ranges::reverse(reversed);
        root.parse(reversed);
    } catch (const CLI::CallForHelp&) {
        cli::write_text(streams.output, root.help());
        return 0;
    } catch (const CLI::CallForVersion& version) {
        cli::write_text(streams.output, fmt::format("{}\n", version.what()));
        return 0;
    } catch (const CLI::ExtrasError& error) {
        return usage_error(root, shell, first_line(error.what()) + suggestion_for(root, arguments));
    } catch (const CLI::ParseError& error) {
        return usage_error(root, shell, first_line(error.what()));
    }
    raise_file_limit();
    if (shell.chosen) return shell.chosen();
    cli::write_text(streams.error, root.help());
    return usage_exit;
}

}  // namespace holdfast::commands
