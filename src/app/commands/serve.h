#pragma once

#include <string>

#include "app/commands/commands.h"
#include "app/config/settings.h"
#include "service/keeper/keeper.h"

namespace holdfast::commands {

// `holdfast serve` with settings that are sound in themselves: checks them against this machine,
// takes the state folder and the port, then keeps the service until it is told to stop. `program`
// is what gateway and workers are started from. Returns the exit code.
int serve(const config::Settings& settings, const Shell& shell,
          const std::string& program = "/proc/self/exe");

// What the keeper is to start for these settings.
keeper::Options plan_service(const config::Settings& settings);

}  // namespace holdfast::commands
