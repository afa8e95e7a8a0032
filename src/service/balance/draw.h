// Chance and comparison for policies.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <span>

#include "service/balance/policy.h"

namespace holdfast::balance {

// Fresh numbers out of a request's one (SplitMix64, Steele et al., "Fast splittable pseudorandom
// number generators", OOPSLA 2014).
class Draw {
public:
    explicit Draw(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() {
        state_ += 0x9E3779B97F4A7C15;
        std::uint64_t mixed = state_;
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
        return mixed ^ (mixed >> 31);
    }
    // In [0, 1).
    double share() { return static_cast<double>(next() >> 11) * 0x1p-53; }

private:
    std::uint64_t state_;
};

// The seat at `share` of the summed weights, but for `except`; nothing if no other has weight.
inline std::optional<SeatIndex> seat_at(std::span<const Seat> seats, double share,
                                        std::optional<SeatIndex> except = {}) {
    double sum = 0;
    for (SeatIndex i = 0; i < seats.size(); ++i)
        if (seats[i].weight > 0 && i != except) sum += seats[i].weight;
    double point = share * sum;
    std::optional<SeatIndex> last;  // rounding may carry the point past the sum
    for (SeatIndex i = 0; i < seats.size(); ++i) {
        if (!(seats[i].weight > 0) || i == except) continue;
        last = i;
        point -= seats[i].weight;
        if (point < 0) break;
    }
    return last;
}

// Compares `left / left_weight` with the right side's without dividing, so that equal ratios are
// equal whatever the rounding.
inline std::partial_ordering compare(std::uint32_t left, double left_weight, std::uint32_t right,
                                     double right_weight) {
    return left * right_weight <=> right * left_weight;
}

// Less: the left seat has less to do for its weight. The new exchange is counted in, so that of two
// idle seats the heavier one comes first. Ties go to the lower reported load (what other gateways
// sent there).
inline std::partial_ordering compare_load(const Seat& left, const Seat& right) {
    const auto order =
        compare(left.outstanding + 1, left.weight, right.outstanding + 1, right.weight);
    if (order != 0) return order;
    return compare(left.reported_load, left.weight, right.reported_load, right.weight);
}

}  // namespace holdfast::balance
