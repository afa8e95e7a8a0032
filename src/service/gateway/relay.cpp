#include "service/gateway/relay.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "common/loop/sleep.h"

namespace holdfast::gateway {

namespace {

// How long a begun answer leaves instances alone that were all at their limit.
constexpr auto pause_when_busy = std::chrono::milliseconds(250);
// How often an attempt that the retry budget holds back asks again.
constexpr auto pause_without_budget = std::chrono::milliseconds(50);

base::Error client_gone() {
    return {base::Code::cancelled, "the client has gone", base::Origin::client, base::Retry::no};
}

}  // namespace

loop::Task<base::Result<>> Relay::run() {
    patience_ = context_.in(context_.allowance.timeouts.place);
    for (;;) {
        const base::Instant asked = context_.now();
        auto placed = lane_.fleet.place_now(need());
        if (!placed || (!*placed && work_.begun())) placed.emplace(co_await wait_for_seat());
        context_.record.queued += context_.now() - asked;
        if (!*placed) co_return std::unexpected(interrupted(unable_ ? *unable_ : placed->error()));
        const Placed& seat = **placed;
        auto call = work_.call(seat.instance());
        if (!call) {
            pass_by(seat, std::move(call).error());
            continue;
        }
        note(seat);
        Attempt attempt(context_, work_, seat);
        AttemptEnd end = co_await attempt.run(*std::move(call));
        if (end) {
            report(seat, fleet::Outcome::ok);
            co_return base::Result<>{};
        }
        if (auto go_on = recover(seat, end.error()); !go_on) co_return go_on;
        if (!co_await pace()) co_return std::unexpected(interrupted(end.error().error));
    }
}

Need Relay::need() const {
    Need need = work_.need();
    need.last = context_.record.last_instance;
    need.busy = busy_;
    return need;
}

// An answer that has begun waits longer than one that has not, also for an instance that has no
// room now.
loop::Task<base::Result<Placed>> Relay::wait_for_seat() {
    const bool begun = work_.begun();
    const base::Deadline until =
        begun ? context_.in(context_.allowance.timeouts.resume) : patience_;
    for (;;) {
        const Need wanted = need();
        auto placed = co_await lane_.fleet.place(wanted, until);
        const bool full = !placed && placed.error().tag == "overloaded";
        if (!begun || !full || until.passed(context_.now())) co_return placed;
        busy_.clear();
        co_await loop::sleep_for(pause_when_busy);
        if (context_.responder.client_gone()) co_return std::unexpected(client_gone());
    }
}

void Relay::note(const Placed& placed) {
    Record& record = context_.record;
    if (record.attempts == 0) record.first_instance = placed.instance().id;
    record.last_instance = placed.instance().id;
    ++record.attempts;
    lane_.journal.set_attempt(*context_.entry, record.attempts);
    gained_ = work_.gained();
}

base::Result<> Relay::recover(const Placed& placed, const Loss& loss) {
    if (context_.responder.client_gone() || loss.error.code == base::Code::cancelled)
        return std::unexpected(client_gone());
    // Neither the client's own haste nor our own trouble is the instance's fault.
    if (loss.error.origin != base::Origin::instance || context_.too_late())
        return std::unexpected(interrupted(loss.error));
    if (loss.error.tag == "not_implemented") {
        pass_by(placed, loss.error);
        return {};
    }
    report(placed, loss.outcome);
    const bool busy = loss.outcome == fleet::Outcome::busy;
    if (busy) busy_.push_back(placed.instance().id);
    spdlog::warn("{}: attempt {} at instance {} ended: {}", context_.request_id,
                 context_.record.attempts, placed.instance().id, loss.error.what);
    if (!work_.prepare_to_go_on()) return std::unexpected(interrupted(loss.error));
    // Only what the client keeps counts: text that is thrown away has brought it nothing.
    const bool fruitful = work_.gained() > gained_;
    fruitless_ = fruitful ? 0 : fruitless_ + (busy ? 0 : 1);
    if (fruitless_ >= context_.allowance.fruitless_attempts_max)
        return std::unexpected(interrupted(loss.error));
    lane_.metrics.retry(base::name(loss.error.code));
    if (work_.begun()) lane_.metrics.failover(*context_.record.guarantee);
    return {};
}

loop::Task<bool> Relay::pace() {
    while (!lane_.budget.withdraw()) {
        if (context_.too_late() || context_.responder.client_gone()) co_return false;
        co_await loop::sleep_for(pause_without_budget);
    }
    co_return true;
}

// It has no such thing to offer, which is no fault of its.
void Relay::pass_by(const Placed& placed, base::Error reason) {
    busy_.push_back(placed.instance().id);
    unable_ = std::move(reason);
}

// One request is no reason to punish an instance again and again.
void Relay::report(const Placed& placed, fleet::Outcome outcome) {
    const fleet::Instance& instance = placed.instance();
    if (outcome == fleet::Outcome::lost) lane_.fleet.suspect(instance);
    if (outcome == fleet::Outcome::lost || outcome == fleet::Outcome::sick) {
        const bool blamed = std::ranges::any_of(blamed_, [&](const Blamed& other) {
            return other.id == instance.id && other.life == instance.life;
        });
        if (blamed) return;
        blamed_.push_back({instance.id, instance.life});
    }
    lane_.fleet.report(placed, outcome);
}

// The deadline's own error wins over whatever the deadline interrupted.
base::Error Relay::interrupted(const base::Error& cause) const {
    if (cause.origin == base::Origin::client || cause.code == base::Code::cancelled) return cause;
    if (context_.too_late() && context_.record.attempts > 0)
        return {base::Code::deadline,
                "The answer was not complete before the request's deadline.",
                base::Origin::self,
                base::Retry::no,
                "",
                "deadline_exceeded"};
    return cause;
}

}  // namespace holdfast::gateway
