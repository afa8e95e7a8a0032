#pragma once

#include <string>
#include <vector>

#include "service/keeper/child.h"
#include "service/keeper/log_file.h"

namespace holdfast::keeper {

struct WorkerPlan {
    std::string id;                      // in the roster and the name of its log
    std::string model;                   // for people
    std::vector<std::string> arguments;  // "worker", "--isolated", ...
};

struct Options {
    std::string program = "/proc/self/exe";  // stays this very version when the file is replaced
    std::vector<std::string> gateway_arguments;
    std::vector<WorkerPlan> workers;
    std::size_t external_instances = 0;  // known to the gateway alone; for people
    std::string url;                     // where clients reach the service; for people
    ChildLimits limits;
    LogLimits logs;
};

}  // namespace holdfast::keeper
