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
#include "common/http/client.h"
#include "common/loop/task.h"
#include "common/upstream/kind.h"
#include "common/upstream/raw.h"
#include "common/upstream/readiness.h"
#include "service/fleet/health.h"

namespace holdfast::fleet {

// A probe that was answered.
struct Probed {
    Answer answer;
    std::string instance_life;  // random text per process; empty for external servers
    std::string fingerprint;
    int pid = 0;
    // What it serves, when it was asked and told; an empty list: it does not tell.
    std::optional<std::vector<upstream::ListedModel>> models;
    std::optional<upstream::Offer> offer;  // when it was asked and could say
    bool offer_asked = false;
    bool tried = false;  // it had to show that it generates, and did
};

struct ProbeError {
    ProbeFailure failure = ProbeFailure::garbage;
    std::string why;
};

using ProbeResult = std::expected<Probed, ProbeError>;

struct ProbeAsk {
    http::Url url;
    const upstream::Kind* kind = &upstream::holdfast_kind;
    bool want_models = false;            // external kinds: ask for the list too
    bool want_offer = false;             // try what it offers (upstream/raw.h)
    bool want_trial = false;             // it must show that it generates
    std::string model;                   // for these two, as the instance names it
    base::Duration silence_max{};        // the longest wait for each answer
    base::Duration trial_silence_max{};  // for one generated token
};

class Prober {
public:
    virtual ~Prober() = default;
    // Loop thread. Any number may be under way, one per instance.
    virtual loop::Task<ProbeResult> probe(ProbeAsk ask) = 0;
};

// Over HTTP with connections of its own: a pool full of answers must not delay a probe.
// What is asked stands in the plan of the instance's kind.
std::unique_ptr<Prober> make_http_prober(loop::Loop& loop, const base::Clock& clock);

}  // namespace holdfast::fleet
