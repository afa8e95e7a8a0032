#include <compare>

#include "service/balance/policy.h"

namespace holdfast::balance {

namespace {

// Compares `left.count / left.weight` with the right side's without dividing, so that equal ratios
// are equal whatever the rounding.
std::partial_ordering compare(std::uint32_t left, double left_weight, std::uint32_t right,
                              double right_weight) {
    return left * right_weight <=> right * left_weight;
}

// A seat with weight 2 carries twice as many exchanges as one with weight 1. The new exchange is
// counted in, so that of two idle seats the heavier one comes first. Ties go to the lower reported
// load (what other gateways sent there), then to a seat drawn by ask.random.
class LeastOutstanding final : public Policy {
public:
    std::optional<SeatIndex> choose(std::span<const Seat> seats, const Ask& ask) override {
        std::optional<SeatIndex> best;
        std::uint64_t equals = 0;
        std::uint64_t random = ask.random;
        for (SeatIndex i = 0; i < seats.size(); ++i) {
            if (!(seats[i].weight > 0)) continue;
            const auto order = best ? rank(seats[i], seats[*best]) : std::partial_ordering::less;
            if (order < 0) {
                best = i;
                equals = 1;
            } else if (order == 0 && draw(random, ++equals) == 0) {
                best = i;
            }
        }
        return best;
    }

private:
    static std::partial_ordering rank(const Seat& left, const Seat& right) {
        const auto order =
            compare(left.outstanding + 1, left.weight, right.outstanding + 1, right.weight);
        if (order != 0) return order;
        return compare(left.reported_load, left.weight, right.reported_load, right.weight);
    }

    // Reservoir sampling (Vitter's algorithm R with one place): the n-th equal seat replaces the
    // chosen one with probability 1/n. Each step takes a fresh number out of the request's one
    // (SplitMix64, Steele et al. 2014).
    static std::uint64_t draw(std::uint64_t& random, std::uint64_t below) {
        random += 0x9E3779B97F4A7C15;
        std::uint64_t mixed = random;
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
        return (mixed ^ (mixed >> 31)) % below;
    }
};

std::unique_ptr<Policy> make() { return std::make_unique<LeastOutstanding>(); }

}  // namespace

extern constinit const PolicyKind least_outstanding_kind{
    "least_outstanding", "fewest exchanges under way for the instance's weight first", make};

}  // namespace holdfast::balance
