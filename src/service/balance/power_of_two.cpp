#include "service/balance/draw.h"

namespace holdfast::balance {

namespace {

// Of two seats drawn by weight, the one that has less to do (Mitzenmacher, "The power of two
// choices in randomized load balancing", 2001). Nearly as even as looking at all of them, and
// several gateways that see the same loads a little late do not all run to the same seat.
class PowerOfTwo final : public Policy {
public:
    std::optional<SeatIndex> choose(std::span<const Seat> seats, const Ask& ask) override {
        Draw draw(ask.random);
        const auto first = seat_at(seats, draw.share());
        if (!first) return std::nullopt;
        const auto second = seat_at(seats, draw.share(), first);
        return second && compare_load(seats[*second], seats[*first]) < 0 ? second : first;
    }
};

std::unique_ptr<Policy> make() { return std::make_unique<PowerOfTwo>(); }

}  // namespace

extern constinit const PolicyKind power_of_two_kind{
    "power_of_two", "of two instances drawn by weight the one with fewer exchanges under way",
    make};

}  // namespace holdfast::balance
