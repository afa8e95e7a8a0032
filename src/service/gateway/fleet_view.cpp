#include "service/gateway/fleet_view.h"

#include <algorithm>

#include "common/base/hash.h"
#include "common/upstream/call.h"
#include "common/upstream/raw.h"

namespace holdfast::gateway {

namespace {

// How long an instance that just broke a connection is avoided if the fleet says nothing new.
constexpr auto suspicion = std::chrono::milliseconds(500);

bool alive(const fleet::Snapshot& snapshot, const std::string& id, std::uint64_t life) {
    return std::ranges::any_of(snapshot.instances, [&](const fleet::Instance& instance) {
        return instance.id == id && instance.life == life && instance.state != fleet::State::down &&
               instance.state != fleet::State::ejected;
    });
}

// An instance that has not said yet what it serves might serve this model.
bool might_serve(const fleet::Instance& instance, std::string_view model) {
    return instance.model.empty() || instance.model == model;
}

bool can_go_on_from_text(const fleet::Instance& instance, const chat::Generation& wanted) {
    return !instance.peer.offer.continues_ids && upstream::can_continue(instance.peer, wanted);
}

bool can_go_on_raw(const fleet::Instance& instance, const Need& need) {
    return instance.peer.kind == need.kind && upstream::fits_raw(instance.peer, *need.raw);
}

}  // namespace

FleetView::FleetView(loop::Loop& loop, const base::Clock& clock, base::Entropy& entropy,
                     fleet::Fleet& fleet, balance::Policy& policy)
    : clock_(clock),
      entropy_(entropy),
      fleet_(fleet),
      policy_(policy),
      loop_(loop),
      snapshot_(fleet.snapshot()) {}

FleetView::Watch::Watch(FleetView& view, const Placed& placed, http::Abort& abort) : view_(view) {
    view_.watched_.push_front({placed.instance().id, placed.instance().life, &abort});
    place_ = view_.watched_.begin();
}

void FleetView::update(std::shared_ptr<const fleet::Snapshot> snapshot) {
    snapshot_ = std::move(snapshot);
    std::erase_if(suspects_, [&](const auto& suspect) {
        return !alive(*snapshot_, suspect.first, suspect.second.life);
    });
    for (const Watch::Entry& entry : watched_)
        if (!alive(*snapshot_, entry.id, entry.life)) entry.abort->trigger();
    for (auto& timer : waiting_) timer.cancel();
}

void FleetView::suspect(const fleet::Instance& instance) {
    suspects_[instance.id] = {instance.life, clock_.now() + suspicion};
}

void FleetView::report(const Placed& placed, fleet::Outcome outcome) {
    fleet_.report(placed.instance().id, placed.instance().life, outcome);
}

bool FleetView::knows(std::string_view model) const {
    return std::ranges::any_of(snapshot_->instances, [&](const fleet::Instance& instance) {
        return instance.model == model;
    });
}

bool FleetView::suspected(const fleet::Instance& instance) const {
    const auto found = suspects_.find(instance.id);
    return found != suspects_.end() && found->second.life == instance.life &&
           clock_.now() < found->second.until;
}

base::Result<std::optional<Placed>> FleetView::try_place(const Need& need) {
    seats_.clear();
    behind_.clear();
    bool known = snapshot_->instances.empty();
    bool all_busy = false;
    for (const fleet::Instance& instance : snapshot_->instances) {
        if (!might_serve(instance, need.model)) continue;
        known = true;
        if (instance.state != fleet::State::ready || suspected(instance)) continue;
        if (!need.fingerprint.empty() && instance.fingerprint != need.fingerprint) continue;
        if (need.text != nullptr && !can_go_on_from_text(instance, *need.text)) continue;
        if (need.raw != nullptr && !can_go_on_raw(instance, need)) continue;
        if (std::ranges::find(need.busy, instance.id) != need.busy.end()) {
            all_busy = true;
            continue;
        }
        seats_.push_back({instance.load->outstanding.load(std::memory_order_relaxed),
                          instance.reported_load, instance.weight, base::hash64(instance.id)});
        behind_.push_back(&instance);
    }
    if (!known)
        return std::unexpected(base::Error{
            base::Code::not_found, fmt::format("The model `{}` does not exist.", need.model),
            base::Origin::client, base::Retry::no, "model", "model_not_found"});
    // What is better avoided is avoided as long as there is something else.
    const auto avoid = [&](auto&& unwanted) {
        if (std::ranges::all_of(behind_, unwanted)) return;
        for (std::size_t i = behind_.size(); i-- > 0;) {
            if (!unwanted(behind_[i])) continue;
            seats_.erase(seats_.begin() + static_cast<std::ptrdiff_t>(i));
            behind_.erase(behind_.begin() + static_cast<std::ptrdiff_t>(i));
        }
    };
    avoid([](const fleet::Instance* instance) { return instance->pushed_back; });
    avoid([&](const fleet::Instance* instance) { return instance->id == need.last; });
    const balance::Ask ask{.random = entropy_.next()};
    const auto choice = policy_.choose(seats_, ask);
    if (choice) return Placed(snapshot_, *behind_[*choice]);
    if (all_busy)
        return std::unexpected(
            base::Error{base::Code::overloaded, "Every instance of this model is at its limit.",
                        base::Origin::instance, base::Retry::later, "", "overloaded"});
    return std::nullopt;
}

std::optional<base::Result<Placed>> FleetView::place_now(const Need& need) {
    auto placed = try_place(need);
    if (!placed) return std::unexpected(std::move(placed).error());
    if (*placed) return std::move(**placed);
    return std::nullopt;
}

loop::Task<base::Result<Placed>> FleetView::place(Need need, base::Deadline deadline) {
    for (;;) {
        auto placed = try_place(need);
        if (!placed) co_return std::unexpected(std::move(placed).error());
        if (*placed) co_return std::move(**placed);
        if (deadline.passed(clock_.now()))
            co_return std::unexpected(
                base::Error{base::Code::unavailable,
                            "No instance of this model is ready; the wait for one has ended.",
                            base::Origin::instance, base::Retry::later, "", "no_ready_instance"});
        // Woken by a new snapshot, or when a suspicion may have lapsed.
        const auto wait = std::min<base::Duration>(deadline.left(clock_.now()), suspicion);
        waiting_.emplace_front(loop_.get_executor());
        const auto timer = waiting_.begin();
        timer->expires_after(wait);
        co_await timer->async_wait(loop::as_result);
        waiting_.erase(timer);
        const auto cancelled = co_await boost::asio::this_coro::cancellation_state;
        if (cancelled.cancelled() != boost::asio::cancellation_type::none)
            co_return base::fail(base::Code::cancelled, "the client has gone");
    }
}

}  // namespace holdfast::gateway
