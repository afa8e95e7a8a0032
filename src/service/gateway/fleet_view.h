// One event loop's view of the fleet: the newest snapshot, who waits for a seat, and which running
// attempts must be told that their instance is gone. Loop thread only.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/random.h"
#include "common/chat/request.h"
#include "common/http/client.h"
#include "common/loop/task.h"
#include "service/balance/policy.h"
#include "service/fleet/fleet.h"

#include <boost/asio/steady_timer.hpp>

namespace holdfast::gateway {

// A seat taken at one instance. Counts as outstanding until destroyed.
class Placed {
public:
    Placed(std::shared_ptr<const fleet::Snapshot> snapshot, const fleet::Instance& instance)
        : snapshot_(std::move(snapshot)), instance_(&instance), load_(instance.load) {
        load_->outstanding.fetch_add(1, std::memory_order_relaxed);
    }
    Placed(Placed&& other) noexcept = default;
    Placed& operator=(Placed&&) = delete;
    ~Placed() {
        if (load_) load_->outstanding.fetch_sub(1, std::memory_order_relaxed);
    }
    const fleet::Instance& instance() const { return *instance_; }

private:
    std::shared_ptr<const fleet::Snapshot> snapshot_;
    const fleet::Instance* instance_;
    std::shared_ptr<fleet::Load> load_;
};

struct Need {
    std::string_view model;
    std::string_view fingerprint;            // empty: any
    const chat::Generation* text = nullptr;  // goes on from text: external servers that can do that
    const chat::Generation* raw = nullptr;   // goes on raw: servers of this kind that can do that
    const upstream::Kind* kind = nullptr;
    std::string_view last;              // where the last attempt failed: better somewhere else
    std::span<const std::string> busy;  // ids that refused this exchange for lack of room
};

class FleetView {
public:
    FleetView(loop::Loop& loop, const base::Clock& clock, base::Entropy& entropy,
              fleet::Fleet& fleet, balance::Policy& policy);
    FleetView(const FleetView&) = delete;
    FleetView& operator=(const FleetView&) = delete;

    // A seat at a ready instance, waiting for one until the deadline. Errors: not_found with tag
    // model_not_found (no instance has this model), overloaded (every ready instance is in
    // need.busy), unavailable with tag no_ready_instance (deadline passed), cancelled.
    loop::Task<base::Result<Placed>> place(Need need, base::Deadline deadline);

    // The same without waiting: nothing if that would be needed.
    std::optional<base::Result<Placed>> place_now(const Need& need);

    // Keeps new attempts of this loop away from this life until the fleet has made up its mind.
    void suspect(const fleet::Instance& instance);
    // Tells the fleet.
    void report(const Placed& placed, fleet::Outcome outcome);

    // While it lives, `abort` is triggered when the instance behind `placed` is ejected or dies.
    class Watch {
    public:
        Watch(FleetView& view, const Placed& placed, http::Abort& abort);
        ~Watch() { view_.watched_.erase(place_); }
        Watch(const Watch&) = delete;
        Watch& operator=(const Watch&) = delete;

    private:
        friend class FleetView;
        struct Entry {
            std::string id;
            std::uint64_t life;
            http::Abort* abort;
        };
        FleetView& view_;
        std::list<Entry>::iterator place_;
    };

    // An instance has said that it serves this model.
    bool knows(std::string_view model) const;
    const fleet::Snapshot& snapshot() const { return *snapshot_; }
    std::size_t waiting() const { return waiting_.size(); }

    // A new snapshot from the fleet's loop.
    void update(std::shared_ptr<const fleet::Snapshot> snapshot);

private:
    struct Suspect {
        std::uint64_t life;
        base::Instant until;
    };
    base::Result<std::optional<Placed>> try_place(const Need& need);
    bool suspected(const fleet::Instance& instance) const;

    const base::Clock& clock_;
    base::Entropy& entropy_;
    fleet::Fleet& fleet_;
    balance::Policy& policy_;
    loop::Loop& loop_;
    std::shared_ptr<const fleet::Snapshot> snapshot_;
    std::list<Watch::Entry> watched_;
    std::map<std::string, Suspect> suspects_;
    using Timer =
        boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                          boost::asio::wait_traits<std::chrono::steady_clock>,
                                          loop::Executor>;
    std::list<Timer> waiting_;
    // Of the choice under way; kept for their memory.
    std::vector<balance::Seat> seats_;
    std::vector<const fleet::Instance*> behind_;
};

}  // namespace holdfast::gateway
