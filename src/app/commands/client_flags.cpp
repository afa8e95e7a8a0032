#include "app/commands/client_flags.h"

#include <cstdlib>

#include "app/config/load.h"
#include "common/base/trim.h"
#include "tools/cli/service.h"

namespace holdfast::commands {

void ClientFlags::add(CLI::App& command, ClientFlags& flags) {
    const auto variable = [](const char* name, std::string_view otherwise) {
        const char* value = std::getenv(name);
        const auto text = base::trimmed(value == nullptr ? "" : value);
        return std::string(text.empty() ? otherwise : text);
    };
    flags.url = variable(config::url_variable, cli::default_url);
    flags.api_key = variable(config::api_key_variable, "");
    command
        .add_option("--url", flags.url,
                    "the service; the variable HOLDFAST_URL names one too [" +
                        std::string(cli::default_url) + "]")
        ->type_name("URL");
}

}  // namespace holdfast::commands
