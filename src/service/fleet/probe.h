// Asking one instance how it is: what to ask each kind, and what its answer means.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/clock.h"
#include "common/dialect/upstream.h"
#include "common/http/client.h"
#include "common/loop/task.h"
#include "service/fleet/health.h"

namespace holdfast::fleet {

struct ListedModel {
    std::string id;
    std::uint32_t context = 0;  // 0: not told
};

// A probe that was answered.
struct Probed {
    Answer answer;
    std::string instance_life;  // random text per process; empty for external servers
    std::string fingerprint;
    int pid = 0;
    // What it serves, when it was asked and told; an empty list: it does not tell.
    std::optional<std::vector<ListedModel>> models;
};

struct ProbeError {
    ProbeFailure failure = ProbeFailure::garbage;
    std::string why;
};

using ProbeResult = std::expected<Probed, ProbeError>;

struct ProbeAsk {
    http::Url url;
    dialect::InstanceKind kind = dialect::InstanceKind::holdfast;
    bool want_models = false;      // external kinds: ask for the list too
    base::Duration silence_max{};  // the longest wait for each answer
};

class Prober {
public:
    virtual ~Prober() = default;
    // Loop thread. Any number may be under way, one per instance.
    virtual loop::Task<ProbeResult> probe(ProbeAsk ask) = 0;
};

// Over HTTP with connections of its own: a pool full of answers must not delay a probe.
//   holdfast            GET /readyz
//   vllm, llama_server  GET /health (200 ready, 503 loading), GET /v1/models when wanted
//   openai              GET /v1/models
std::unique_ptr<Prober> make_http_prober(loop::Loop& loop, const base::Clock& clock);

// The body of a worker's /readyz (docs/protocol.md, section 1). Code::corrupt (Origin::instance)
// for what is none; unknown fields are skipped, so that versions mix.
base::Result<Probed> parse_readyz(std::string_view body);
// The body of GET /v1/models. Context lengths as vLLM (max_model_len) and llama-server
// (meta.n_ctx, else meta.n_ctx_train) tell them.
base::Result<std::vector<ListedModel>> parse_models(std::string_view body);

}  // namespace holdfast::fleet
