// One attempt at one instance: calls it, reads what it says, and judges how that ended.
#pragma once

#include <expected>
#include <memory>

#include "common/http/client.h"
#include "common/upstream/kind.h"
#include "service/gateway/context.h"
#include "service/gateway/work.h"

namespace holdfast::gateway {

// How an attempt ended that did not bring the answer to its end.
struct Loss {
    base::Error error;
    fleet::Outcome outcome = fleet::Outcome::lost;  // for the instance's health
};
using AttemptEnd = std::expected<void, Loss>;

// While it lives the fleet can end it, because its instance has died or hangs. Loop thread only.
class Attempt {
public:
    Attempt(Context& context, Work& work, const Placed& placed);

    // Until the answer is complete at the client, or the instance is of no more use for it.
    loop::Task<AttemptEnd> run(upstream::Call call);

private:
    using Called = std::expected<std::unique_ptr<http::ClientExchange>, Loss>;

    // What has to be known first; gives the attempt's own call.
    loop::Task<std::expected<upstream::Call, Loss>> ask(upstream::Call question);
    loop::Task<Called> call(upstream::Call call);
    loop::Task<AttemptEnd> read(http::ClientExchange& answering);
    http::ClientRequest request(upstream::Call call) const;
    bool heard() const { return work_.gained() > gained_before_; }
    base::Deadline patience() const;
    Loss broken(base::Error error, base::Deadline patience) const;

    Context& context_;
    Work& work_;
    const fleet::Instance& instance_;
    http::Abort abort_;
    FleetView::Watch watch_;
    std::uint64_t gained_before_;
};

}  // namespace holdfast::gateway
