#include "service/balance/draw.h"

namespace holdfast::balance {

namespace {

// A seat with weight 2 carries twice as many exchanges as one with weight 1. Of seats that have
// equally little to do one is drawn by ask.random.
class LeastOutstanding final : public Policy {
public:
    std::optional<SeatIndex> choose(std::span<const Seat> seats, const Ask& ask) override {
        std::optional<SeatIndex> best;
        std::uint64_t equals = 0;
        Draw draw(ask.random);
        for (SeatIndex i = 0; i < seats.size(); ++i) {
            if (!(seats[i].weight > 0)) continue;
            const auto order =
                best ? compare_load(seats[i], seats[*best]) : std::partial_ordering::less;
            // Reservoir sampling (Vitter's algorithm R with one place): the n-th equal seat
            // replaces the chosen one with probability 1/n.
            if (order < 0) {
                best = i;
                equals = 1;
            } else if (order == 0 && draw.next() % ++equals == 0) {
                best = i;
            }
        }
        return best;
    }
};

std::unique_ptr<Policy> make() { return std::make_unique<LeastOutstanding>(); }

}  // namespace

extern constinit const PolicyKind least_outstanding_kind{
    "least_outstanding", "fewest exchanges under way for the instance's weight first", make};

}  // namespace holdfast::balance
