// What the fleet is told by whoever runs it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "common/http/url.h"
#include "common/upstream/kind.h"

namespace holdfast::fleet {

struct Target {  // an instance known from configuration
    std::string id;
    http::Url url;
    const upstream::Kind* kind = &upstream::holdfast_kind;
    std::string model;  // empty: as the instance says
    double weight = 1.0;
};

struct HealthOptions {
    std::chrono::milliseconds probe_every{250};
    // Where asking for the list of models may be metered (kind openai): less often.
    std::chrono::milliseconds probe_openai_every{2000};
    std::chrono::milliseconds probe_silence_max{1500};  // no answer to any probe: hung
    // The same for external servers, whose event loops are known to stand still under load.
    std::chrono::milliseconds probe_external_silence_max{5000};
    std::chrono::milliseconds progress_silence_max{1500};  // work but no progress: hung
    // Of external servers more is asked when no answer of theirs has moved for that long: one token
    // within this time, or at least some progress elsewhere.
    std::chrono::milliseconds trial_silence_max{2500};
    std::uint32_t sick_max = 3;                  // consecutive sick outcomes open the breaker
    std::chrono::milliseconds breaker_ms{2000};  // first open time; doubles up to 30 s
};

}  // namespace holdfast::fleet
