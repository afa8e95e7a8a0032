#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "common/cores/placement.h"
#include "common/http/limits.h"
#include "common/telemetry/metrics.h"
#include "inference/engine/engine.h"

namespace holdfast::worker {

// What one worker process is to do.
struct Options {
    std::string model_path;     // a folder or a GGUF file
    std::string model_name;     // what clients ask for
    std::string chat_template;  // a name or a file, see text::ChatTemplate; empty: the model's own
    std::string listen = "127.0.0.1:8081";  // port 0: any free one, told through sd_notify
    std::uint32_t threads = 1;              // of the model
    cores::Placement placement;             // of these threads
    std::uint32_t kv_tokens = 32'768;       // capacity of the KV cache
    std::uint32_t batch_tokens_max = 512;
    std::string isa;                    // empty: the best that this machine has
    std::string weights = "file";       // see model::parse_weights
    std::string kv_type = "f32";        // see model::parse_kv_type
    std::string numerics = "portable";  // see model::parse_native_numerics
    double tokens_per_second = 0;       // most events a second in one stream; 0: as fast as it goes
    engine::Options engine{.speculation_tokens_max = 3};
    // How slow a client may be is the gateway's business: one that is paused is not lost.
    http::ServerLimits http{.write_ms_max = std::chrono::hours(1)};
    std::chrono::milliseconds drain{30'000};  // running answers get that long to end
    std::string version;
    std::function<void(telemetry::Registry&)>
        add_metrics;  // of what lives outside, such as the log
};

}  // namespace holdfast::worker
