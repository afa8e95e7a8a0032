#include "service/fleet/health.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/seconds.h"

namespace holdfast::fleet {

namespace {

constexpr std::chrono::milliseconds breaker_ms_max{30'000};
constexpr std::chrono::milliseconds push_back{250};

// "1.5 s"
std::string in_seconds(base::Duration duration) {
    return fmt::format("{:g} s", base::seconds(duration));
}

}  // namespace

std::string_view name(State state) {
    switch (state) {
        case State::starting:
            return "starting";
        case State::ready:
            return "ready";
        case State::draining:
            return "draining";
        case State::ejected:
            return "ejected";
        case State::down:
            return "down";
    }
    std::unreachable();
}

Health::Health(const HealthOptions& options, base::Duration silence_max)
    : options_(options), silence_max_(silence_max), open_for_(options.breaker_ms) {}

void Health::set_fault(Fault fault, int good_probes_needed, std::string why) {
    fault_ = fault;
    good_probes_needed_ = good_probes_needed;
    fault_why_ = std::move(why);
}

// Work without progress, seen by two answers at least progress_silence_max apart and by every
// answer between them.
bool Health::stagnates(base::Instant now, const Answer& answer) {
    const bool same = answer_ && answer_->progress == answer.progress;
    if (answer.work == 0 || !answer.progress || !same) working_since_.reset();
    if (answer.work > 0 && answer.progress && !working_since_) working_since_ = now;
    return working_since_ && now - *working_since_ >= options_.progress_silence_max;
}

void Health::answered(base::Instant sent, base::Instant now, const Answer& answer) {
    const bool stagnant = stagnates(now, answer);
    answer_ = answer;
    ready_once_ = ready_once_ || answer.ready;
    if (stagnant) {
        set_fault(Fault::stagnant, 2,
                  fmt::format("no progress for {}", in_seconds(options_.progress_silence_max)));
        if (on_trial(sent)) open_breaker(now);
        return;
    }
    if (sent < lost_at_) return;
    if (fault_ != Fault::none && --good_probes_needed_ <= 0) fault_ = Fault::none;
    if (on_trial(sent) && answer.ready && fault_ == Fault::none) {
        open_until_.reset();
        sick_ = options_.sick_max - 1;
    }
}

void Health::failed(base::Instant sent, base::Instant now, ProbeFailure failure,
                    std::string_view why) {
    if (failure == ProbeFailure::silent && sent <= stalled_at_) return;
    working_since_.reset();
    switch (failure) {
        case ProbeFailure::silent:
            set_fault(Fault::silent, 2, fmt::format("no answer for {}", in_seconds(silence_max_)));
            break;
        case ProbeFailure::stuck:
            set_fault(Fault::stagnant, 1, std::string(why));
            break;
        case ProbeFailure::unreachable:
            set_fault(Fault::unreachable, 1, std::string(why));
            break;
        case ProbeFailure::garbage:
            set_fault(Fault::garbage, 1, std::string(why));
            break;
    }
    if (on_trial(sent)) open_breaker(now);
}

void Health::reported(base::Instant now, Outcome outcome) {
    switch (outcome) {
        case Outcome::ok:
            sick_ = 0;
            open_until_.reset();
            open_for_ = options_.breaker_ms;
            break;
        case Outcome::sick:
            count_sick(now);
            break;
        case Outcome::lost:
            // All exchanges of an instance are lost at once when it dies: one event, one count.
            if (fault_ == Fault::none) {
                set_fault(Fault::lost, 1, "the connection of a running answer broke");
                count_sick(now);
            }
            lost_at_ = now;
            break;
        case Outcome::busy:
            pushed_back_until_ = now + push_back;
            break;
    }
}

void Health::count_sick(base::Instant now) {
    if (++sick_ >= options_.sick_max && !open_until_) open_breaker(now);
}

void Health::open_breaker(base::Instant now) {
    open_until_ = now + open_for_;
    open_for_ = std::min(open_for_ * 2, breaker_ms_max);
}

void Health::observer_stalled(base::Instant now) {
    stalled_at_ = now;
    working_since_.reset();
}

Verdict Health::verdict() const {
    if (process_ == upstream::ProcessState::down) {
        const std::string what = "the process is not running";
        return {State::down, process_why_.empty() ? what : what + ": " + process_why_};
    }
    if (process_ == upstream::ProcessState::draining) return {State::draining, "told to stop"};
    if (fault_ != Fault::none) return fault_verdict();
    if (!answer_ || !answer_->ready || answer_->draining) return answer_verdict();
    if (open_until_) {
        return {State::ejected, fmt::format("{} failures in a row", sick_), "breaker"};
    }
    return {State::ready, ""};
}

Verdict Health::fault_verdict() const {
    // Whoever has not spoken yet and is known to be starting is not ill but loading.
    if (!answer_ && process_ == upstream::ProcessState::starting)
        return {State::starting, fault_why_};
    switch (fault_) {
        case Fault::silent:
            return {State::ejected, fault_why_, "no_answer"};
        case Fault::stagnant:
            return {State::ejected, fault_why_, "no_progress"};
        case Fault::garbage:
            return {State::ejected, fault_why_, "bad_answer"};
        case Fault::unreachable:
        case Fault::lost:
            return {State::down, fault_why_};
        case Fault::none:
            break;
    }
    std::unreachable();
}

Verdict Health::answer_verdict() const {
    if (!answer_) return {State::starting, "has not answered yet"};
    if (answer_->draining) return {State::draining, "told to stop"};
    std::string reason = answer_->reasons.empty() ? "not ready" : answer_->reasons;
    if (!ready_once_) return {State::starting, std::move(reason)};
    return {State::ejected, std::move(reason), "not_ready"};
}

}  // namespace holdfast::fleet
