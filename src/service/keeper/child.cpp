#include "service/keeper/child.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/assert.h"
#include "common/base/seconds.h"

namespace holdfast::keeper {
namespace {

constexpr std::size_t text_bytes_max = 200;

std::string clean(std::string_view text) {
    std::string out(text.substr(0, text_bytes_max));
    for (char& c : out)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    return out;
}

bool is_address(std::string_view text) {
    const auto fits = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '.' || c == ':' || c == '-' || c == '[' || c == ']';
    };
    return !text.empty() && text.size() <= 100 && std::ranges::all_of(text, fits);
}
}  // namespace

Notification parse_notification(std::string_view datagram) {
    Notification out;
    while (!datagram.empty()) {
        const auto end = datagram.find('\n');
        const auto line = datagram.substr(0, end);
        datagram = end == datagram.npos ? std::string_view() : datagram.substr(end + 1);
        const auto value = line.substr(std::min(line.size(), line.find('=') + 1));
        if (line == "READY=1") out.ready = true;
        if (line == "STOPPING=1") out.stopping = true;
        if (line == "WATCHDOG=1") out.watchdog = true;
        if (line.starts_with("STATUS=")) out.status = clean(value);
        if (line.starts_with("X_HOLDFAST_LISTEN=") && is_address(value)) out.listen = value;
    }
    return out;
}

Child::Command Child::next(base::Instant now) {
    if (phase_ == Phase::waiting && start_at_.passed(now)) return Command::start;
    if (!alive() || killed_) return Command::none;
    if (std::exchange(terminate_due_, false)) return Command::terminate;
    kill_reason_ = overdue(now);
    if (kill_reason_.empty()) return Command::none;
    killed_ = true;
    return Command::kill;
}

// Why the process must be killed now; empty if it may live.
std::string Child::overdue(base::Instant now) const {
    if (kill_at_.passed(now)) {
        if (phase_ == Phase::starting)
            return fmt::format("not ready after {:g} s", base::seconds(limits_.start_max));
        return "did not stop in time";
    }
    if (phase_ == Phase::running && now - last_sign_ >= limits_.silence_max)
        return fmt::format("no sign of progress for {:g} s", base::seconds(limits_.silence_max));
    return {};
}

base::Deadline Child::wake() const {
    if (phase_ == Phase::waiting) return start_at_;
    if (!alive() || killed_) return base::Deadline::never();
    base::Deadline at = kill_at_;
    if (phase_ == Phase::running) at = at.sooner(base::Deadline(last_sign_ + limits_.silence_max));
    return at;
}

void Child::started(int pid, base::Instant now) {
    HF_ASSERT(pid > 0 && !alive() && phase_ == Phase::waiting);
    phase_ = Phase::starting;
    pid_ = pid;
    ++starts_;
    killed_ = terminate_due_ = false;
    kill_at_ = base::Deadline(now + limits_.start_max);
    last_sign_ = now;
    ready_since_.reset();
    listen_.clear();
    status_.clear();
    kill_reason_.clear();
}

void Child::heard(const Notification& news, base::Instant now) {
    if (!alive()) return;
    if (news.status) status_ = *news.status;
    if (news.listen) listen_ = *news.listen;
    if (news.watchdog || news.ready) last_sign_ = now;
    if (news.ready && phase_ == Phase::starting) {
        phase_ = Phase::running;
        ready_since_ = now;
        kill_at_ = base::Deadline::never();
    }
    if (news.stopping && (phase_ == Phase::starting || phase_ == Phase::running)) {
        phase_ = Phase::draining;
        kill_at_ = base::Deadline(now + limits_.drain_max + limits_.leave_max);
    }
}

void Child::exited(base::Instant now, double jitter) {
    pid_ = 0;
    listen_.clear();
    status_.clear();
    ++deaths_;
    kill_at_ = base::Deadline::never();
    if (stopping_for_good_) {
        phase_ = Phase::stopped;
        return;
    }
    if (ready_since_ && now - *ready_since_ >= limits_.backoff_reset) quick_deaths_ = 0;
    phase_ = Phase::waiting;
    start_at_ = base::Deadline(now + next_pause(jitter));
}

// first, 2 * first, 4 * first, ... up to max; of that a random share from 75 % to 100 %.
base::Duration Child::next_pause(double jitter) {
    base::Duration pause = limits_.backoff_first;
    for (std::uint32_t i = 0; i < quick_deaths_ && pause < limits_.backoff_max; ++i) pause *= 2;
    ++quick_deaths_;
    const auto share = 0.75 + 0.25 * std::clamp(jitter, 0.0, 1.0);
    return std::chrono::duration_cast<base::Duration>(
        std::min<base::Duration>(pause, limits_.backoff_max) * share);
}

void Child::forgive(base::Instant now) { last_sign_ = std::max(last_sign_, now); }

void Child::stop(base::Instant now, base::Duration patience) {
    stopping_for_good_ = true;
    if (!alive()) {
        phase_ = Phase::stopped;
        return;
    }
    terminate_due_ = patience > base::Duration::zero() && phase_ != Phase::draining;
    phase_ = Phase::draining;
    kill_at_ = base::Deadline(now + patience);
}

}  // namespace holdfast::keeper
