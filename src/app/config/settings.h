// Everything that can be set, as one plain value: the options of the rooms that are to obey them.
// It is read once at start, checked as a whole and never changed afterwards; copies are passed
// down. What a member means, and its default, stand where the room defines it; its name and its
// limits stand in table.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/telemetry/log.h"
#include "inference/worker/options.h"
#include "service/gateway/options.h"
#include "service/keeper/options.h"

namespace holdfast::config {

// A model's folder or GGUF file, and the name that clients ask for.
struct Model {
    std::string path;
    std::string name;
    friend bool operator==(const Model&, const Model&) = default;
};

// What a model is called that was given no name: the file name of its path, without ".gguf" and the
// number of a part.
std::string default_model_name(std::string_view path);

// Which workers a service has. What is the same for all of them stands in worker::Options.
struct Workers {
    std::vector<Model> models;
    std::uint32_t instances = 2;  // per model
    std::string cores = "auto";   // see cores::parse_choice
};

struct Settings {
    std::string state_dir;
    telemetry::LogOptions log;
    gateway::Options gateway;  // with timeouts, retries, health, and the instances of others
    Workers workers;
    worker::Options worker;  // with the engine
    keeper::Options keeper;
};

}  // namespace holdfast::config
