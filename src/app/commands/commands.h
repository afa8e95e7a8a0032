// The command line. Each command is one file with an add_NAME function; commands.cpp lists them.
// This room is the only one that names concrete classes and puts them together.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "tools/cli/terminal.h"

namespace holdfast::commands {

// Exit codes: 0, usage_exit where the command line or the settings are wrong as they are written,
// 1 for everything else that went wrong, a missing or damaged file included. What a signal
// interrupted has the code of app/interrupt_flag.h.
inline constexpr int usage_exit = 2;

// What a command needs while the command line is read, and what is to be run in the end.
struct Shell {
    cli::Streams streams;
    std::function<int()> chosen;
};

// Reads the command line (without the program's name), runs the command, returns the exit code.
int run(const std::vector<std::string>& arguments, cli::Streams streams);

void add_serve(CLI::App& root, Shell& shell);
void add_gateway(CLI::App& root, Shell& shell);
void add_worker(CLI::App& root, Shell& shell);
void add_chat(CLI::App& root, Shell& shell);
void add_pull(CLI::App& root, Shell& shell);
void add_models(CLI::App& root, Shell& shell);
void add_status(CLI::App& root, Shell& shell);
void add_quantize(CLI::App& root, Shell& shell);
void add_plan(CLI::App& root, Shell& shell);
void add_perf(CLI::App& root, Shell& shell);
void add_eval(CLI::App& root, Shell& shell);
void add_config(CLI::App& root, Shell& shell);
void add_version(CLI::App& root, Shell& shell);

// Writes "holdfast: TEXT" to the error stream and returns `exit_code`.
int complain(const Shell& shell, std::string_view text, int exit_code = 1);
// The same with the exit code for the error: what base::fail_field() made of a flag is wrong usage.
int complain(const Shell& shell, const base::Error& error);

}  // namespace holdfast::commands
