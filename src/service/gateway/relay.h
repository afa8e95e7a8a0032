// Brings work to its end: places it at an instance, paces the attempts, and goes on elsewhere after
// a loss.
#pragma once

#include <string>
#include <vector>

#include "service/gateway/attempt.h"
#include "service/gateway/context.h"
#include "service/gateway/work.h"

namespace holdfast::gateway {

// Lives inside one exchange; loop thread only. `context` has an entry in the lane's journal.
class Relay {
public:
    Relay(Context& context, Work& work) : context_(context), lane_(context.lane), work_(work) {}

    // Until the answer is complete at the client.
    loop::Task<base::Result<>> run();

private:
    Need need() const;
    loop::Task<base::Result<Placed>> wait_for_seat();
    void note(const Placed& placed);
    // After a loss: decides whether another attempt is made. An error ends the relay.
    base::Result<> recover(const Placed& placed, const Loss& loss);
    // Waits until the retry budget allows another attempt.
    loop::Task<bool> pace();
    void pass_by(const Placed& placed, base::Error reason);
    void report(const Placed& placed, fleet::Outcome outcome);
    base::Error interrupted(const base::Error& cause) const;

    struct Blamed {
        std::string id;
        std::uint64_t life;
    };

    Context& context_;
    Lane& lane_;
    Work& work_;
    base::Deadline patience_;            // for the first instance
    std::vector<std::string> busy_;      // instances that cannot take it now
    std::vector<Blamed> blamed_;         // told to the fleet: one request counts once
    std::optional<base::Error> unable_;  // why the last of them offers no such thing
    std::uint64_t gained_ = 0;           // before the running attempt
    std::uint32_t fruitless_ = 0;        // attempts in a row that brought the client nothing
};

}  // namespace holdfast::gateway
