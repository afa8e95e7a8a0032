// How a worker is, both ends: the body of its /readyz (docs/protocol.md, section 1), and the list
// of models that every server has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"

namespace holdfast::upstream {

struct Readiness {
    bool ready = false, draining = false;
    std::vector<std::string> reasons;  // why not ready, for people
    std::string model, fingerprint;    // empty until they are known
    std::uint32_t context = 0;         // most tokens of prompt and answer; 0 until it is known
    double load_progress = 1;          // [0, 1]
    int pid = 0;
    std::string instance_life;  // random text per process
    std::uint32_t running = 0, waiting = 0;
    // Grows with every bit of work done; absent for servers that do not tell.
    std::optional<std::uint64_t> progress;
    friend bool operator==(const Readiness&, const Readiness&) = default;
};

std::string render_readiness(const Readiness& readiness);
// Code::corrupt (Origin::instance) for what is none; unknown fields are skipped, so that versions
// mix. Everything is cut to the limits of limits.h.
base::Result<Readiness> parse_readiness(std::string_view body);

struct ListedModel {
    std::string id;
    std::uint32_t context = 0;  // 0: not told
};

// The body of GET /v1/models. Context lengths as vLLM (max_model_len) and llama-server
// (meta.n_ctx, else meta.n_ctx_train) tell them.
base::Result<std::vector<ListedModel>> parse_models(std::string_view body);

}  // namespace holdfast::upstream
