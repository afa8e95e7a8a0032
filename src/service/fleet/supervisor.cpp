#include "service/fleet/supervisor.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "common/upstream/roster.h"
#include "service/fleet/fleet_metrics.h"
#include "service/fleet/member.h"

namespace holdfast::fleet {

namespace {

using loop::as_result;
using Timer =
    asio::basic_waitable_timer<std::chrono::steady_clock,
                               asio::wait_traits<std::chrono::steady_clock>, loop::Executor>;
using Descriptor = asio::posix::basic_stream_descriptor<loop::Executor>;

constexpr base::Duration tick = std::chrono::milliseconds(50);
// A tick that comes this much too late means that this process stood still, not the instances.
constexpr base::Duration stall = std::chrono::milliseconds(500);

// Loop thread only, except snapshot, report and subscribe. Lives as long as its tasks: one per
// instance, one for the roster, one for the ticks. All of them end after stop().
class Supervisor final : public std::enable_shared_from_this<Supervisor> {
public:
    Supervisor(FleetWorld world, const HealthOptions& options)
        : world_(std::move(world)),
          options_(options),
          metrics_(world_.metrics),
          ticks_(world_.loop),
          last_tick_(world_.clock.now()),
          snapshot_(std::make_shared<const Snapshot>()) {}

    void start(std::vector<Target> targets);
    void stop();

    std::shared_ptr<const Snapshot> snapshot() const {
        const std::scoped_lock lock(mutex_);
        return snapshot_;
    }
    void report(const std::string& id, std::uint64_t life, Outcome outcome);
    void subscribe(std::function<void(std::shared_ptr<const Snapshot>)> on_change) {
        const std::scoped_lock lock(mutex_);
        subscribers_.push_back(std::move(on_change));
    }

    void forget_subscribers() {
        const std::scoped_lock lock(mutex_);
        subscribers_.clear();
    }

private:
    struct Watched {
        Watched(Member one, loop::Loop& loop, bool is_kept)
            : member(std::move(one)), wake(loop), kept(is_kept) {}
        Member member;
        Timer wake;
        asio::cancellation_signal cancel;
        bool kept;               // by the keeper: goes when its line goes
        bool probe_now = false;  // do not wait for the next turn
        bool removed = false;
    };

    using Self = std::shared_ptr<Supervisor>;
    static loop::Task<void> watch(Self self, std::shared_ptr<Watched> watched);
    static loop::Task<void> probe_once(Self self, std::shared_ptr<Watched> watched);
    static loop::Task<void> follow_roster(Self self);
    static loop::Task<void> keep_ticking(Self self);

    void add(Member member, const std::string& id, bool kept);
    void remove(const std::string& id);
    void take_roster(std::string_view packet);
    bool read_roster();
    void probe_soon(Watched& watched);
    void take_report(const std::string& id, std::uint64_t life, Outcome outcome);
    void notice_stall();
    void publish();
    void date_models(const Snapshot& before, Snapshot& next) const;
    void log_changes(const Snapshot& before, const Snapshot& after) const;

    FleetWorld world_;
    const HealthOptions options_;
    FleetMetrics metrics_;
    LifeNumbers lives_;
    std::map<std::string, std::shared_ptr<Watched>> members_;
    std::optional<Descriptor> roster_;
    Timer ticks_;
    base::Instant last_tick_;
    bool stopped_ = false;
    // Members for whom an `ok` outcome would change anything; all others need no message to the
    // loop, and `ok` is what nearly every exchange reports.
    std::atomic<std::size_t> suspects_{0};

    mutable std::mutex mutex_;  // guards what follows
    std::shared_ptr<const Snapshot> snapshot_;
    std::vector<std::function<void(std::shared_ptr<const Snapshot>)>> subscribers_;
};

void rethrow(const std::exception_ptr& error) {
    if (error) std::rethrow_exception(error);
}

void Supervisor::start(std::vector<Target> targets) {
    for (Target& target : targets) {
        const std::string id = target.id;
        add(Member(std::move(target), options_, lives_), id, false);
    }
    publish();
    asio::co_spawn(world_.loop, keep_ticking(shared_from_this()), rethrow);
    if (world_.roster) {
        roster_.emplace(world_.loop, world_.roster.release());
        asio::co_spawn(world_.loop, follow_roster(shared_from_this()), rethrow);
    }
}

void Supervisor::stop() {
    stopped_ = true;
    ticks_.cancel();
    if (roster_) roster_->close();
    while (!members_.empty()) remove(members_.begin()->first);
}

void Supervisor::add(Member member, const std::string& id, bool kept) {
    auto watched = std::make_shared<Watched>(std::move(member), world_.loop, kept);
    if (!members_.try_emplace(id, watched).second) {
        spdlog::error("instance {} is configured twice; the second one is ignored", id);
        return;
    }
    // The handler keeps the signal alive until the task has let go of its slot.
    asio::co_spawn(world_.loop, watch(shared_from_this(), watched),
                   asio::bind_cancellation_slot(
                       watched->cancel.slot(),
                       [watched](const std::exception_ptr& error) { rethrow(error); }));
}

void Supervisor::remove(const std::string& id) {
    const std::shared_ptr<Watched> leaving = members_.extract(id).mapped();
    leaving->removed = true;
    leaving->wake.cancel();
    leaving->cancel.emit(asio::cancellation_type::terminal);
}

// One turn after the other: the next probe leaves after the last was answered or given up.
loop::Task<void> Supervisor::watch(Self self, std::shared_ptr<Watched> watched) {
    co_await asio::this_coro::throw_if_cancelled(false);
    while (!watched->removed) {
        const base::Instant began = self->world_.clock.now();
        watched->probe_now = false;
        co_await probe_once(self, watched);
        if (watched->removed) break;
        if (watched->probe_now) continue;
        const base::Duration taken = self->world_.clock.now() - began;
        watched->wake.expires_after(
            std::max<base::Duration>(watched->member.probe_every() - taken, base::Duration(1)));
        co_await watched->wake.async_wait(as_result);
    }
}

loop::Task<void> Supervisor::probe_once(Self self, std::shared_ptr<Watched> watched) {
    watched->member.watch_requests(self->world_.clock.now());
    std::optional<ProbeAsk> ask = watched->member.next_probe();
    if (!ask) co_return;
    const std::uint64_t life = watched->member.life();
    const base::Instant sent = self->world_.clock.now();
    ProbeAsk question = *std::move(ask);
    ProbeResult result = co_await self->world_.prober->probe(std::move(question));
    if (watched->removed) co_return;
    self->notice_stall();
    watched->member.probed(life, sent, self->world_.clock.now(), std::move(result));
    self->publish();
}

loop::Task<void> Supervisor::follow_roster(Self self) {
    for (;;) {
        co_await self->roster_->async_wait(Descriptor::wait_read, as_result);
        if (self->stopped_) co_return;
        if (!self->read_roster()) break;
    }
    self->roster_->close();
    spdlog::error("the keeper is gone");
    if (self->world_.on_keeper_gone) self->world_.on_keeper_gone();
}

// False when the keeper has closed the channel.
bool Supervisor::read_roster() {
    std::string packet(upstream::roster_bytes_max, '\0');
    const ssize_t size =
        ::recv(roster_->native_handle(), packet.data(), packet.size(), MSG_DONTWAIT | MSG_TRUNC);
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    if (size == 0) return false;
    if (static_cast<std::size_t>(size) > packet.size()) {
        spdlog::error("roster: a packet of {} bytes is too long and ignored", size);
        return true;
    }
    packet.resize(static_cast<std::size_t>(size));
    take_roster(packet);
    return true;
}

void Supervisor::take_roster(std::string_view packet) {
    const auto entries = upstream::parse_roster(packet);
    if (!entries) {
        spdlog::error("{}; the packet is ignored", entries.error().what);
        return;
    }
    std::vector<std::string> gone;
    for (const auto& [id, watched] : members_) {
        const bool listed =
            std::ranges::find(*entries, id, &upstream::RosterEntry::id) != entries->end();
        if (watched->kept && !listed) gone.push_back(id);
    }
    for (const std::string& id : gone) remove(id);

    for (const upstream::RosterEntry& entry : *entries) {
        if (!members_.contains(entry.id)) add(Member(entry.id, options_, lives_), entry.id, true);
        Watched& watched = *members_.at(entry.id);
        if (!watched.kept) {
            spdlog::error("roster: instance {} is configured as a target already", entry.id);
            continue;
        }
        watched.member.follow(entry);
        probe_soon(watched);
    }
    publish();
}

void Supervisor::probe_soon(Watched& watched) {
    watched.probe_now = true;
    watched.wake.cancel();
}

void Supervisor::report(const std::string& id, std::uint64_t life, Outcome outcome) {
    if (outcome == Outcome::ok && suspects_.load(std::memory_order_relaxed) == 0) return;
    asio::post(world_.loop, [self = shared_from_this(), id, life, outcome] {
        self->take_report(id, life, outcome);
    });
}

void Supervisor::take_report(const std::string& id, std::uint64_t life, Outcome outcome) {
    const auto found = members_.find(id);
    if (found == members_.end()) return;
    Watched& watched = *found->second;
    if (!watched.member.reported(life, world_.clock.now(), outcome)) return;
    if (outcome == Outcome::lost) probe_soon(watched);
    publish();
}

// Ticks notice when this process stood still, and let what only time ends show: a push-back.
loop::Task<void> Supervisor::keep_ticking(Self self) {
    while (!self->stopped_) {
        self->ticks_.expires_after(tick);
        co_await self->ticks_.async_wait(as_result);
        if (self->stopped_) break;
        self->notice_stall();
        self->publish();
    }
}

void Supervisor::notice_stall() {
    const base::Instant now = world_.clock.now();
    const base::Duration gap = now - std::exchange(last_tick_, now);
    if (gap < tick + stall) return;
    spdlog::warn("this process stood still for {} ms",
                 std::chrono::duration_cast<std::chrono::milliseconds>(gap).count());
    for (const auto& [id, watched] : members_) watched->member.observer_stalled(now);
}

// A model keeps the date at which an instance first named it, whatever becomes of that instance's
// process.
void Supervisor::date_models(const Snapshot& before, Snapshot& next) const {
    for (Instance& instance : next.instances) {
        if (instance.model.empty()) continue;
        const auto known = std::ranges::find(before.instances, instance.model, &Instance::model);
        instance.created =
            known == before.instances.end() ? world_.clock.unix_seconds() : known->created;
    }
}

void Supervisor::publish() {
    if (stopped_) return;
    auto next = std::make_shared<Snapshot>();
    std::size_t suspects = 0;
    const base::Instant now = world_.clock.now();
    for (const auto& [id, watched] : members_) {
        next->instances.push_back(watched->member.instance(now));
        suspects += watched->member.suspect() ? 1 : 0;
    }
    suspects_.store(suspects, std::memory_order_relaxed);

    const std::shared_ptr<const Snapshot> before = snapshot();
    date_models(*before, *next);
    if (next->instances == before->instances) return;
    std::vector<std::function<void(std::shared_ptr<const Snapshot>)>> subscribers;
    {
        const std::scoped_lock lock(mutex_);
        snapshot_ = next;
        subscribers = subscribers_;
    }
    log_changes(*before, *next);
    metrics_.update(*before, *next);
    for (const auto& on_change : subscribers) on_change(next);
}

void Supervisor::log_changes(const Snapshot& before, const Snapshot& after) const {
    for (const Instance& instance : after.instances) {
        const auto old = std::ranges::find(before.instances, instance.id, &Instance::id);
        if (old != before.instances.end() && old->state == instance.state) continue;
        spdlog::info("instance {} is {}{}{}", instance.id, name(instance.state),
                     instance.reason.empty() ? "" : ": ", instance.reason);
    }
}

// The owner's handle: its end asks the tasks to end, on their own loop.
class SupervisedFleet final : public Fleet {
public:
    SupervisedFleet(loop::Loop& loop, std::shared_ptr<Supervisor> supervisor)
        : loop_(loop), supervisor_(std::move(supervisor)) {}
    ~SupervisedFleet() override {
        supervisor_->forget_subscribers();
        asio::post(loop_, [supervisor = supervisor_] { supervisor->stop(); });
    }
    SupervisedFleet(const SupervisedFleet&) = delete;
    SupervisedFleet& operator=(const SupervisedFleet&) = delete;

    std::shared_ptr<const Snapshot> snapshot() const override { return supervisor_->snapshot(); }
    void report(const std::string& id, std::uint64_t life, Outcome outcome) override {
        supervisor_->report(id, life, outcome);
    }
    void subscribe(std::function<void(std::shared_ptr<const Snapshot>)> on_change) override {
        supervisor_->subscribe(std::move(on_change));
    }

private:
    loop::Loop& loop_;
    std::shared_ptr<Supervisor> supervisor_;
};

}  // namespace

std::unique_ptr<Fleet> make_fleet(FleetWorld world, std::vector<Target> targets,
                                  HealthOptions options) {
    loop::Loop& loop = world.loop;
    auto supervisor = std::make_shared<Supervisor>(std::move(world), options);
    supervisor->start(std::move(targets));
    return std::make_unique<SupervisedFleet>(loop, std::move(supervisor));
}

}  // namespace holdfast::fleet
