#include "service/fleet/member.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace holdfast::fleet {

namespace {

Target kept_target(const std::string& id) {
    Target target;
    target.id = id;
    return target;
}

}  // namespace

Member::Member(Target target, const HealthOptions& options, LifeNumbers& lives)
    : target_(std::move(target)),
      options_(options),
      lives_(lives),
      health_(options, silence_max()),
      model_(target_.model),
      upstream_model_(target_.model) {
    begin_life();
}

Member::Member(const std::string& id, const HealthOptions& options, LifeNumbers& lives)
    : Member(kept_target(id), options, lives) {
    kept_ = true;
    has_address_ = false;
}

base::Duration Member::silence_max() const {
    return is_external() ? options_.probe_external_silence_max : options_.probe_silence_max;
}

void Member::begin_life() {
    life_ = lives_.next();
    load_ = std::make_shared<Load>();
    health_ = Health(options_, silence_max());
    health_.process(process_);
    instance_life_.clear();
    fingerprint_.clear();
    models_known_ = false;
    offer_.reset();
    offer_asked_ = false;
    reported_load_ = 0;
    unreached_ = false;
    heard_ = 0;
    doubtful_ = false;
}

// Only where the server tells how far it is: others may well compute for long without a word.
void Member::watch_requests(base::Instant now) {
    const upstream::RawForm* form = target_.kind->raw;
    if (form == nullptr || form->progress_path.empty()) return;
    const std::uint64_t heard = load_->heard.load(std::memory_order_relaxed);
    const bool idle = load_->outstanding.load(std::memory_order_relaxed) == 0;
    if (idle || heard != heard_) {
        heard_ = heard;
        moved_at_ = now;
    }
    if (now > moved_at_ && now - moved_at_ >= options_.progress_silence_max) doubtful_ = true;
}

void Member::follow(const upstream::RosterEntry& entry) {
    http::Url url;
    bool has_address = false;
    if (!entry.listen.empty()) {
        auto parsed = http::Url::parse("http://" + entry.listen);
        has_address = parsed.has_value();
        if (parsed) {
            url = *std::move(parsed);
        } else {
            spdlog::error("roster: instance {}: {}", entry.id, parsed.error().what);
        }
    }
    const bool new_process = entry.pid != 0 && last_pid_ != 0 && entry.pid != last_pid_;
    const bool moved = has_address && has_address_ && url != target_.url;
    pid_ = entry.pid;
    if (pid_ != 0) last_pid_ = pid_;
    restarts_ = entry.restarts;
    process_ = entry.state;
    has_address_ = has_address;
    if (has_address) target_.url = std::move(url);
    if (new_process || moved) begin_life();
    health_.process(process_, entry.reason);
    if (process_ == upstream::ProcessState::down) reported_load_ = 0;
}

std::optional<ProbeAsk> Member::next_probe() const {
    if (!has_address_ || process_ == upstream::ProcessState::down) return std::nullopt;
    ProbeAsk ask;
    ask.url = target_.url;
    ask.kind = target_.kind;
    ask.want_models = is_external() && !models_known_;
    ask.want_offer = models_known_ && !offer_ && target_.kind->raw != nullptr;
    ask.want_trial = models_known_ && doubtful_;
    ask.model = upstream_model_;
    ask.trial_silence_max = options_.trial_silence_max;
    ask.silence_max = silence_max();
    return ask;
}

base::Duration Member::probe_every() const {
    const bool metered = target_.kind->probe.metered && models_known_;
    return metered ? options_.probe_openai_every : options_.probe_every;
}

void Member::probed(std::uint64_t life, base::Instant sent, base::Instant now, ProbeResult result) {
    if (life != life_) return;
    if (result) {
        answered(sent, now, *std::move(result));
        return;
    }
    const ProbeError& error = result.error();
    if (error.failure == ProbeFailure::unreachable) {
        unreached_ = models_known_;
        reported_load_ = 0;
    }
    health_.failed(sent, now, error.failure, error.why);
}

void Member::answered(base::Instant sent, base::Instant now, Probed probed) {
    const bool another = !instance_life_.empty() && probed.instance_life != instance_life_;
    if (another || (is_external() && unreached_)) {
        if (!kept_) ++restarts_;
        begin_life();
    }
    instance_life_ = std::move(probed.instance_life);
    fingerprint_ = std::move(probed.fingerprint);
    if (!kept_) pid_ = probed.pid;
    reported_load_ = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(probed.answer.work, std::numeric_limits<std::uint32_t>::max()));
    if (probed.models) learn_models(*probed.models);
    if (probed.offer) offer_ = probed.offer;
    offer_asked_ = offer_asked_ || probed.offer_asked;
    if (probed.tried) {
        doubtful_ = false;
        moved_at_ = now;
    }

    if (probed.answer.ready && !models_known_) {
        probed.answer.ready = false;
        probed.answer.reasons = "has not told its model yet";
    } else if (probed.answer.ready && model_.empty()) {
        probed.answer.ready = false;
        probed.answer.reasons = "lists no model and none is configured";
    } else if (probed.answer.ready && !offer_asked_ && target_.kind->raw != nullptr) {
        probed.answer.ready = false;
        probed.answer.reasons = "has not been asked yet what it offers";
    }
    health_.answered(sent, now, probed.answer);
}

// A configured name is what clients ask for. If the instance lists it, it understands it; if it
// lists one model only, that is the one meant; among several it is up to the instance.
void Member::learn_models(const std::vector<upstream::ListedModel>& models) {
    models_known_ = true;
    const auto named = std::ranges::find(models, target_.model, &upstream::ListedModel::id);
    const upstream::ListedModel* meant = nullptr;
    if (named != models.end()) {
        meant = &*named;
    } else if (models.size() == 1 || (target_.model.empty() && !models.empty())) {
        meant = &models.front();
    }
    if (meant != nullptr) {
        upstream_model_ = meant->id;
        context_ = meant->context;
    }
    model_ = target_.model.empty() ? upstream_model_ : target_.model;
}

bool Member::reported(std::uint64_t life, base::Instant now, Outcome outcome) {
    if (life != life_) return false;
    health_.reported(now, outcome);
    return true;
}

Instance Member::instance(base::Instant now) const {
    Verdict verdict = health_.verdict();
    Instance shown;
    shown.id = target_.id;
    shown.url = target_.url;
    shown.peer = *target_.kind;
    if (offer_) shown.peer.offer = *offer_;
    shown.model = model_;
    shown.upstream_model = upstream_model_;
    shown.fingerprint = fingerprint_;
    shown.context = context_;
    shown.state = verdict.state;
    shown.reason = std::move(verdict.reason);
    shown.life = life_;
    shown.pid = pid_;
    shown.restarts = restarts_;
    shown.reported_load = reported_load_;
    shown.weight = target_.weight;
    shown.pushed_back = health_.pushed_back(now);
    shown.breaker_open = health_.breaker_open();
    shown.ejected_for = verdict.ejected_for;
    shown.load = load_;
    return shown;
}

}  // namespace holdfast::fleet
