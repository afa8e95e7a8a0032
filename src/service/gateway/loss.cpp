#include "service/gateway/loss.h"

#include <utility>

namespace holdfast::gateway {

base::Error lost(std::string what) {
    return {base::Code::unavailable,
            std::move(what),
            base::Origin::instance,
            base::Retry::elsewhere,
            "",
            "instance_lost"};
}

fleet::Outcome judge(const base::Error& error) {
    switch (error.code) {
        case base::Code::overloaded:
            return fleet::Outcome::busy;
        case base::Code::unavailable:
            return fleet::Outcome::lost;
        default:
            return fleet::Outcome::sick;
    }
}

}  // namespace holdfast::gateway
