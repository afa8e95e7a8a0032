#include <mutex>
#include <unordered_map>

#include "service/balance/policy.h"

namespace holdfast::balance {

namespace {

// Smooth weighted round robin (as nginx does it since 1.3.1): at every choice each seat earns its
// weight, the richest is chosen and pays what all earned. Of weights 5, 1 and 1 that gives
// a a b a c a a, so that each cycle has exact shares and a heavy seat no bursts. What a seat has
// earned is kept by its key while others come and go. The lock is held for as long as it takes to
// walk over the seats.
class Weighted final : public Policy {
public:
    std::optional<SeatIndex> choose(std::span<const Seat> seats, const Ask&) override {
        const std::scoped_lock lock(mutex_);
        if (earned_.size() > seats_max) earned_.clear();  // those of instances that are long gone
        std::optional<SeatIndex> best;
        double best_earned = 0, sum = 0;
        for (SeatIndex i = 0; i < seats.size(); ++i) {
            if (!(seats[i].weight > 0)) continue;
            sum += seats[i].weight;
            const double earned = earned_[seats[i].key] += seats[i].weight;
            if (best && earned <= best_earned) continue;
            best = i;
            best_earned = earned;
        }
        if (best) earned_[seats[*best].key] -= sum;
        return best;
    }

private:
    static constexpr std::size_t seats_max = 4'096;
    std::mutex mutex_;
    std::unordered_map<std::uint64_t, double> earned_;
};

std::unique_ptr<Policy> make() { return std::make_unique<Weighted>(); }

}  // namespace

extern constinit const PolicyKind weighted_kind{
    "weighted", "exact shares by weight in every cycle, whatever the load", make};

}  // namespace holdfast::balance
