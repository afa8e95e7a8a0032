#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace holdfast::commands {

// What the commands that talk to a service have in common: its URL (--url, else HOLDFAST_URL, else
// this machine) and the key (HOLDFAST_API_KEY: a flag would show it in the list of processes).
struct ClientFlags {
    std::string url;
    std::string api_key;

    // `flags` must outlive the parsing.
    static void add(CLI::App& command, ClientFlags& flags);
};

}  // namespace holdfast::commands
