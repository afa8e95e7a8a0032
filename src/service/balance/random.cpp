#include "service/balance/draw.h"

namespace holdfast::balance {

namespace {

// Needs no state and no word about load, so that any number of gateways agree by chance alone.
class Random final : public Policy {
public:
    std::optional<SeatIndex> choose(std::span<const Seat> seats, const Ask& ask) override {
        return seat_at(seats, Draw(ask.random).share());
    }
};

std::unique_ptr<Policy> make() { return std::make_unique<Random>(); }

}  // namespace

extern constinit const PolicyKind random_kind{"random", "any instance, by weight", make};

}  // namespace holdfast::balance
