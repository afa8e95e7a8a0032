#include "tools/cli/chat.h"

#include <memory>
#include <string>
#include <vector>

#include "app/commands/client_flags.h"
#include "app/commands/commands.h"
#include "common/base/clock.h"

namespace holdfast::commands {
namespace {

struct Flags {
    ClientFlags client;
    cli::ChatOptions chat;
    std::vector<std::string> words;
};

int chat(Flags& flags, const Shell& shell) {
    flags.chat.url = flags.client.url;
    flags.chat.api_key = flags.client.api_key;
    for (const std::string& word : flags.words)
        flags.chat.prompt = flags.chat.prompt ? *flags.chat.prompt + " " + word : word;
    return cli::run_chat(flags.chat, shell.streams, base::SystemClock());
}

}  // namespace

void add_chat(CLI::App& root, Shell& shell) {
    auto* command = root.add_subcommand("chat", "Talk to a model of a running service");
    auto flags = std::make_shared<Flags>();
    cli::ChatOptions& options = flags->chat;
    command->add_option("PROMPT", flags->words, "the question; several words are joined")
        ->type_name("");
    ClientFlags::add(*command, flags->client);
    command
        ->add_option("--model", options.model, "model to ask [the first that the service offers]")
        ->type_name("NAME");
    command->add_option("--system", options.system, "system message")->type_name("TEXT");
    command->add_option("--temperature", options.temperature, "0 always takes the likeliest token")
        ->type_name("NUMBER")
        ->check(CLI::Range(0.0, 100.0));
    command->add_option("--seed", options.seed, "the same seed and question give the same answer")
        ->type_name("N");
    command->add_option("--max-tokens", options.max_tokens, "longest answer, thinking included")
        ->type_name("N")
        ->check(CLI::Range(1U, 1'000'000'000U));
    command->add_flag("--hide-thinking", options.hide_thinking, "show the answer alone");
    command->footer(
        "Without PROMPT it answers what is piped in, or talks with you at a terminal. The answer\n"
        "goes to standard output, everything else to standard error.\n\n"
        "Examples:\n"
        "  holdfast chat\n"
        "  holdfast chat --temperature 0 \"What is 6 times 7?\"\n"
        "  holdfast chat --hide-thinking < question.txt > answer.txt");
    command->callback(
        [&shell, flags] { shell.chosen = [&shell, flags] { return chat(*flags, shell); }; });
}

}  // namespace holdfast::commands
