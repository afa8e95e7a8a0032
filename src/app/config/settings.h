// Everything that can be set, as one plain value. It is read once at start, checked as a whole and
// never changed afterwards; copies are passed down. What each member means, its limits and its
// default stand in one place: table.cpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

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

// An instance that somebody else runs.
struct External {
    std::string url;
    std::string kind = "openai";  // holdfast, vllm, llama-server or openai
    std::string model;            // empty: as the instance says
    std::string name;             // instance id; given by load() where it is left out
    friend bool operator==(const External&, const External&) = default;
};

struct Settings {
    std::string state_dir;
    std::vector<External> external;

    struct Log {
        std::string level;
        std::uint64_t bytes_max = 0;
        std::uint32_t files_kept = 0;
        friend bool operator==(const Log&, const Log&) = default;
    } log;

    struct Gateway {
        std::string listen;
        std::string balance;
        std::uint32_t threads = 0;
        friend bool operator==(const Gateway&, const Gateway&) = default;
    } gateway;

    struct Worker {
        std::vector<Model> models;
        std::string listen;
        std::uint32_t instances = 0;  // per model
        std::uint32_t threads = 0;    // per instance
        std::string cores;            // see cores::parse_choice
        double tokens_per_second = 0;
        // A known one's name, or a file: what has a slash or ends in .json. "auto": the model's.
        std::string chat_template;
        friend bool operator==(const Worker&, const Worker&) = default;
    } worker;

    struct Timeouts {
        std::chrono::milliseconds connect{}, place{}, resume{}, first_token{}, token_gap{}, total{};
        friend bool operator==(const Timeouts&, const Timeouts&) = default;
    } timeouts;

    struct Retry {
        std::uint32_t attempts_max = 0;
        double ratio = 0;
        double min_per_second = 0;
        friend bool operator==(const Retry&, const Retry&) = default;
    } retry;

    struct Health {
        std::chrono::milliseconds probe_every{}, probe_silence_max{}, progress_silence_max{};
        std::uint32_t sick_max = 0;
        std::chrono::milliseconds breaker{};
        friend bool operator==(const Health&, const Health&) = default;
    } health;

    struct Engine {
        std::uint32_t kv_tokens = 0, batch_tokens_max = 0, prefill_tokens_max = 0;
        std::uint32_t running_max = 0, waiting_max = 0;
        bool prefix_cache = true;
        std::string weights, kv_type, numerics;
        std::uint32_t speculation_tokens_max = 0;
        std::chrono::milliseconds batch_wait{};
        friend bool operator==(const Engine&, const Engine&) = default;
    } engine;

    struct Keeper {
        std::chrono::milliseconds backoff_first{}, backoff_max{}, backoff_reset{};
        std::chrono::milliseconds hang_kill{}, start_timeout{}, drain{};
        friend bool operator==(const Keeper&, const Keeper&) = default;
    } keeper;

    friend bool operator==(const Settings&, const Settings&) = default;
};

}  // namespace holdfast::config
