#include <algorithm>
#include <atomic>

#include "service/balance/policy.h"

namespace holdfast::balance {

namespace {

// One turn after the other, whatever the load. With weights a seat gets its share of the turns,
// spread evenly: turn t points at the fraction t * golden ratio of the summed weights (a
// low-discrepancy sequence, Weyl 1916), so heavy seats get no bursts. Equal weights take strict
// turns. The counter is shared by all loops; it is the only state.
class RoundRobin final : public Policy {
public:
    std::optional<SeatIndex> choose(std::span<const Seat> seats, const Ask&) override {
        double weight_sum = 0;
        bool equal = true;
        for (const Seat& seat : seats) {
            weight_sum += std::max(seat.weight, 0.0);
            equal = equal && seat.weight == seats[0].weight;
        }
        if (!(weight_sum > 0)) return std::nullopt;

        const std::uint64_t turn = turn_.fetch_add(1, std::memory_order_relaxed);
        return equal ? turn % seats.size() : weighted(seats, weight_sum, turn);
    }

private:
    static SeatIndex weighted(std::span<const Seat> seats, double weight_sum, std::uint64_t turn) {
        constexpr std::uint64_t golden_ratio = 0x9E3779B97F4A7C15;  // times 2^64
        double point = static_cast<double>(turn * golden_ratio) * 0x1p-64 * weight_sum;
        SeatIndex last = 0;  // rounding may carry the point past the sum: then the last seat has it
        for (SeatIndex i = 0; i < seats.size(); ++i) {
            if (!(seats[i].weight > 0)) continue;
            last = i;
            point -= seats[i].weight;
            if (point < 0) break;
        }
        return last;
    }

    std::atomic<std::uint64_t> turn_{0};
};

std::unique_ptr<Policy> make() { return std::make_unique<RoundRobin>(); }

}  // namespace

extern constinit const PolicyKind round_robin_kind{
    "round_robin", "one instance after the other, by weight, whatever their load", make};

}  // namespace holdfast::balance
